//! The operator `intake` as a process of its own.

fn main() -> std::process::ExitCode {
    pipeline::process::main(&intake::REGISTRATION)
}
