//! Reference data small enough to be read here: three lists of networks and one prison.

use geodata::{DataConfig, DataSets};
use std::path::Path;
use std::sync::OnceLock;

/// Addresses of the list of Tor exits.
pub const TOR_EXITS: [&str; 2] = ["185.220.101.7", "2001:67c:6ec:203:192:42:116:178"];
/// Addresses of networks on the list of VPNs.
pub const VPN_ADDRESSES: [&str; 2] = ["146.70.12.34", "146.70.200.1"];
/// Addresses of networks on the list of datacenters.
pub const DATACENTER_ADDRESSES: [&str; 2] = ["3.22.9.1", "2600:1f16::1"];
/// Addresses on no list.
pub const HOME_ADDRESSES: [&str; 4] = ["201.141.5.9", "189.203.17.88", "187.190.38.1", "2806:2f0:51c1::9"];
/// Corners of the prison: south, west, north, east.
pub const PRISON: [f64; 4] = [19.417, -99.753, 19.423, -99.747];

const TOR_LIST: &str = "185.220.101.0/24\n2001:67c:6ec:203:192:42:116:178\n";
const VPN_LIST: &str = "146.70.0.0/16\n";
const DATACENTER_LIST: &str = "3.16.0.0/13\n2600:1f16::/32\n";

/// Returns the data sets, opened from files as an operator opens them.
pub fn data_sets() -> &'static DataSets {
    static DATA_SETS: OnceLock<DataSets> = OnceLock::new();
    DATA_SETS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let overrides = [
            ("ip.tor", write(folder.path(), "tor.txt", TOR_LIST)),
            ("ip.vpn", write(folder.path(), "vpn.txt", VPN_LIST)),
            ("ip.datacenter", write(folder.path(), "datacenter.txt", DATACENTER_LIST)),
            ("places.prisons", write(folder.path(), "prisons.json", &prisons())),
        ];
        let overrides = overrides.iter().map(|(name, path)| format!("{name}={path}").parse());
        let overrides = overrides.collect::<Result<_, _>>().expect("the names of the data sets are known");
        DataSets::open(&DataConfig { assets_folder: None, overrides }).expect("the data sets open")
    })
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file of reference data is written");
    path.display().to_string()
}

fn prisons() -> String {
    let [south, west, north, east] = PRISON;
    format!(
        r#"{{"type":"FeatureCollection","features":[{{"type":"Feature","properties":{{"name":"Altiplano","id":"mx-1"}},
        "geometry":{{"type":"Polygon","coordinates":
        [[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],[{west},{south}]]]}}}}]}}"#
    )
}
