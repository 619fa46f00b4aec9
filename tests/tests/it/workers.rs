//! Several workers of a group: one that was replaced without knowing it, and workers that come and go.

use crate::reference::undisturbed;
use crate::{on_local_buses, times};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tests::buses::{BusKind, TestLog};
use tests::deployment::Deployment;
use tests::fleet::Fleet;
use tests::interference::{Call, InterferedBus, Interference, RandomSteps, Undisturbed};
use tests::random::{Random, Seed};
use tests::workload::{Shape, Workload};

on_local_buses!(a_zombie_commits_nothing, workers_come_and_go);
