//! One suite over every bus: the same workload, disturbed in every way there is, gives the same decisions.

#![allow(clippy::unwrap_used)]

mod crashes;
mod hostile;
mod kafka;
mod reference;
mod replay;
mod steps;
mod time;
mod workers;

/// Makes a module of tests from checks that take a kind of bus: one test a bus.
macro_rules! on_local_buses {
    ($($check:ident),+ $(,)?) => {
        mod memory {
            $(#[test]
            fn $check() {
                super::$check(tests::buses::BusKind::Memory);
            })+
        }

        mod embedded {
            $(#[test]
            fn $check() {
                super::$check(tests::buses::BusKind::Embedded);
            })+
        }
    };
}
pub(crate) use on_local_buses;

/// Returns how often something random is tried: few times by default, many with `TAMIZ_LONG=1`.
pub(crate) fn times(few: usize, many: usize) -> usize {
    if is_long() { many } else { few }
}

/// Tells whether the full counts are asked for.
pub(crate) fn is_long() -> bool {
    std::env::var("TAMIZ_LONG").is_ok_and(|value| value == "1")
}
