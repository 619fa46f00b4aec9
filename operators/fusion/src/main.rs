//! The operator `fusion` as a process of its own.

fn main() -> std::process::ExitCode {
    pipeline::process::main(&fusion::REGISTRATION)
}
