//! Prints how fast lookups are: `cargo run --release -p tamiz-geodata --example lookup_speed -- FOLDER [NAME=FILE…]`.
//!
//! FOLDER is where data sets were installed; a dash stands for none.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use geodata::{DataConfig, DataSets, Position, distance_m, reserved};

const LOOKUP_COUNT: usize = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: lookup_speed FOLDER [NAME=FILE…]")?;
    let overrides: Result<_, _> = arguments.map(|argument| argument.parse()).collect();
    let assets_folder = (folder != "-").then(|| folder.into());

    let start = Instant::now();
    let data_sets = DataSets::open(&DataConfig { assets_folder, overrides: overrides? })?;
    println!("open: {:.3} s", start.elapsed().as_secs_f64());
    for data_set in data_sets.in_use() {
        println!("  {:<15} {} {}", data_set.name, &data_set.hash[..19], data_set.rejected_rows);
    }

    let mut random = SplitMix(1);
    let addresses: Vec<IpAddr> = std::iter::repeat_with(|| IpAddr::V4(Ipv4Addr::from(random.next() as u32)))
        .filter(|address| reserved(*address).is_none())
        .take(LOOKUP_COUNT)
        .collect();
    measure("IpData::lookup, random IPv4", &addresses, |address| {
        black_box(data_sets.ip.lookup(*address));
    });

    // Mexico's box, where most positions are far from any prison, and the surroundings of one prison.
    let mut positions = |south: f64, west: f64, side: f64| -> Vec<Position> {
        let mut spread = |from: f64| from + random.fraction() * side;
        (0..LOOKUP_COUNT).filter_map(|_| Position::new(spread(south), spread(west))).collect()
    };
    let country = positions(16.0, -106.0, 16.0);
    let near = positions(19.40, -99.77, 0.04);
    measure("Places::country, Mexico's box", &country, |position| {
        black_box(data_sets.places.country(*position));
    });
    measure("Places::prison, Mexico's box", &country, |position| {
        black_box(data_sets.places.prison(*position));
    });
    measure("Places::prison, within 2 km of one", &near, |position| {
        black_box(data_sets.places.prison(*position));
    });
    let pairs: Vec<(Position, Position)> = country.iter().copied().zip(near).collect();
    measure("distance_m", &pairs, |(from, to)| {
        black_box(distance_m(*from, *to));
    });
    Ok(())
}

fn measure<T>(name: &str, inputs: &[T], mut work: impl FnMut(&T)) {
    // The first pass brings the mapped pages in.
    for pass in ["first pass", "warm"] {
        let start = Instant::now();
        inputs.iter().for_each(&mut work);
        let elapsed_s = start.elapsed().as_secs_f64();
        let count = inputs.len() as f64;
        println!("{name:<36} {pass:<10} {:>10.0}/s {:>7.0} ns", count / elapsed_s, elapsed_s / count * 1e9);
    }
}

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
