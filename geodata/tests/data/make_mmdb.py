"""Writes the small mmdb files of this folder; needs the package mmdb-writer 0.2.7.

Run it in this folder: python3 make_mmdb.py. The records are made up. Networks are public ones, because a
reserved address is not looked up at all.
"""

from netaddr import IPSet
from mmdb_writer import MMDBWriter, MmdbF32


def write(name, database_type, records, ip_version=4, **options):
    writer = MMDBWriter(ip_version=ip_version, database_type=database_type, **options)
    for networks, record in records:
        writer.insert_network(IPSet(networks), record)
    writer.to_db_file(name)


MEXICO = {
    "country_code": "MX",
    "state1": "Michoacán de Ocampo",
    "city": "Pátzcuaro",
    "latitude": MmdbF32(19.5163),
    "longitude": MmdbF32(-101.6098),
    "postcode": "61600",
    "timezone": "America/Mexico_City",
}
BRAZIL = {"country_code": "BR", "state1": "São Paulo", "city": "", "latitude": -23.5475, "longitude": -46.6361}

write("flat-city-v4.mmdb", "dbip-city-ipv4", [(["201.141.0.0/16"], MEXICO), (["189.0.0.0/11"], BRAZIL)])
write("flat-city-v6.mmdb", "dbip-city-ipv6", [(["2806:2f0::/32"], MEXICO)], ip_version=6)
write(
    "flat-country.mmdb",
    "geo-whois-asn-country",
    [
        (["201.141.0.0/16", "187.128.0.0/12", "2806:2f0::/32"], {"country_code": "MX"}),
        (["189.0.0.0/11"], {"country_code": "BR"}),
        (["8.8.8.0/24"], {"country_code": "US"}),
    ],
    ip_version=6,
    ipv4_compatible=True,
)
write(
    "nested-city.mmdb",
    "GeoIP2-City",
    [
        (
            ["201.141.0.0/16", "2806:2f0::/32"],
            {
                "continent": {"code": "NA", "names": {"en": "North America", "es": "Norteamérica"}},
                "country": {"iso_code": "MX", "names": {"en": "Mexico", "es": "México"}},
                "subdivisions": [
                    {"iso_code": "MIC", "names": {"en": "Michoacán"}},
                    {"iso_code": "X", "names": {"en": "Second"}},
                ],
                "city": {"names": {"en": "Pátzcuaro", "de": "Patzcuaro"}},
                "location": {"latitude": 19.5163, "longitude": -101.6098, "time_zone": "America/Mexico_City", "accuracy_radius": 20},
                "postal": {"code": "61600"},
            },
        ),
        (["189.0.0.0/11"], {"country": {"iso_code": "BR"}}),
    ],
    ip_version=6,
    ipv4_compatible=True,
)
write(
    "asn.mmdb",
    "GeoLite2-ASN",
    [
        (["201.141.0.0/16"], {"autonomous_system_number": 28548, "autonomous_system_organization": "Cablevisión"}),
        (["189.0.0.0/11"], {"autonomous_system_number": 28573}),
    ],
)
write(
    "anonymous.mmdb",
    "GeoIP2-Anonymous-IP",
    [
        (["45.61.187.0/24"], {"is_anonymous": True, "is_anonymous_vpn": True}),
        (["185.220.101.33/32", "2a0b:f4c2::/48"], {"is_anonymous": True, "is_tor_exit_node": True}),
    ],
    ip_version=6,
    ipv4_compatible=True,
)
