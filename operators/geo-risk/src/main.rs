//! The operator `geo-risk` as a process of its own.

fn main() -> std::process::ExitCode {
    pipeline::process::main(&geo_risk::REGISTRATION)
}
