//! Which autonomous system announces an address, from a CSV of ranges compiled to a sorted table.

use std::net::IpAddr;
use std::path::Path;

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::file;
use crate::network_list::{RejectedRows, parse_address};

/// Ranges of both families with the number and the name of their operator.
///
/// A range costs twelve bytes for IPv4 and thirty-six for IPv6; each operator's name is kept once.
#[derive(Debug, Default)]
pub(crate) struct AutonomousSystemTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    operators: Vec<Operator>,
    names: String,
}

#[derive(Debug, Default)]
struct Ranges<T> {
    firsts: Vec<T>,
    lasts: Vec<T>,
    operators: Vec<u32>,
}

#[derive(Debug)]
struct Operator {
    number: u32,
    name_start: u32,
    name_end: u32,
}

impl AutonomousSystemTable {
    /// Reads files of `first,last,number,"name"` rows, plain or gzip; they may cover different families.
    pub(crate) fn open(paths: &[&Path]) -> Result<(AutonomousSystemTable, RejectedRows)> {
        let mut builder = Builder::default();
        let mut rejected = RejectedRows::default();
        for path in paths {
            let row_count = builder.row_count();
            builder.read(path, &mut rejected)?;
            if builder.row_count() == row_count {
                return Err(Error::NoUsableRow { path: path.to_path_buf(), reason: rejected.to_string() });
            }
        }
        Ok((builder.finish(&mut rejected), rejected))
    }

    /// Returns number and name of the operator of `address`.
    pub(crate) fn lookup(&self, address: IpAddr) -> Option<(u32, Option<&str>)> {
        let at = match address {
            IpAddr::V4(address) => self.v4.find(u32::from(address)),
            IpAddr::V6(address) => self.v6.find(u128::from(address)),
        }?;
        let operator = &self.operators[at as usize];
        let name = &self.names[operator.name_start as usize..operator.name_end as usize];
        Some((operator.number, Some(name).filter(|name| !name.is_empty())))
    }
}

impl<T: Copy + Ord> Ranges<T> {
    fn find(&self, value: T) -> Option<u32> {
        let at = self.firsts.partition_point(|first| *first <= value).checked_sub(1)?;
        (value <= self.lasts[at]).then(|| self.operators[at])
    }

    /// Sorts the rows and drops those that overlap an earlier one, returning how many were dropped.
    fn build(mut rows: Vec<(T, T, u32)>) -> (Ranges<T>, u64) {
        rows.sort_by_key(|(first, ..)| *first);
        let mut ranges =
            Ranges { firsts: Vec::with_capacity(rows.len()), lasts: Vec::new(), operators: Vec::new() };
        ranges.lasts.reserve_exact(rows.len());
        ranges.operators.reserve_exact(rows.len());
        let mut dropped_count = 0;
        for (first, last, operator) in rows {
            if ranges.lasts.last().is_some_and(|open| first <= *open) {
                dropped_count += 1;
                continue;
            }
            ranges.firsts.push(first);
            ranges.lasts.push(last);
            ranges.operators.push(operator);
        }
        (ranges, dropped_count)
    }
}

#[derive(Default)]
struct Builder {
    v4: Vec<(u32, u32, u32)>,
    v6: Vec<(u128, u128, u32)>,
    operators: Vec<Operator>,
    names: String,
    /// The operators of a number: mostly one, more where the file spells its name in several ways.
    known: FxHashMap<u32, Vec<u32>>,
}

impl Builder {
    fn row_count(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn read(&mut self, path: &Path, rejected: &mut RejectedRows) -> Result<()> {
        let bytes = file::read_bytes(path)?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(bytes.as_slice());
        let mut record = csv::ByteRecord::new();
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(false) => return Ok(()),
                Ok(true) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    if let Err(reason) = self.push(&record) {
                        rejected.push(line, reason);
                    }
                }
                Err(source) => return Err(Error::Csv { path: path.to_owned(), source }),
            }
        }
    }

    fn push(&mut self, record: &csv::ByteRecord) -> Result<(), &'static str> {
        let field = |at: usize| record.get(at).and_then(|field| std::str::from_utf8(field).ok());
        let (Some(first), Some(last), Some(number)) = (field(0), field(1), field(2)) else {
            return Err("not three columns of text");
        };
        let (Some(first), Some(last)) = (parse_address(first), parse_address(last)) else {
            return Err("not two addresses");
        };
        let digits = number.trim_start_matches(['A', 'S', 'a', 's']);
        let number: u32 = digits.parse().map_err(|_| "not the number of an autonomous system")?;
        let name = String::from_utf8_lossy(record.get(3).unwrap_or_default());
        if first > last {
            return Err("the first address is after the last");
        }
        let operator = match (first, last) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                self.operator(number, &name)?
            }
            _ => return Err("the two addresses are of different families"),
        };
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.v4.push((first.into(), last.into(), operator)),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.v6.push((first.into(), last.into(), operator)),
            _ => {}
        }
        Ok(())
    }

    fn operator(&mut self, number: u32, name: &str) -> Result<u32, &'static str> {
        let same_number = self.known.entry(number).or_default();
        for at in same_number.iter() {
            let operator = &self.operators[*at as usize];
            if &self.names[operator.name_start as usize..operator.name_end as usize] == name {
                return Ok(*at);
            }
        }
        let position = |length: usize| u32::try_from(length).map_err(|_| "too many operators");
        let at = position(self.operators.len())?;
        let name_start = position(self.names.len())?;
        let name_end = position(self.names.len() + name.len())?;
        self.names.push_str(name);
        self.operators.push(Operator { number, name_start, name_end });
        same_number.push(at);
        Ok(at)
    }

    fn finish(self, rejected: &mut RejectedRows) -> AutonomousSystemTable {
        let (v4, v4_dropped_count) = Ranges::build(self.v4);
        let (v6, v6_dropped_count) = Ranges::build(self.v6);
        rejected.push_many(v4_dropped_count + v6_dropped_count, "overlaps another range");
        AutonomousSystemTable { v4, v6, operators: self.operators, names: self.names }
    }
}
