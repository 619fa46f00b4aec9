//! The operator `ip-intel` as a process of its own.

fn main() -> std::process::ExitCode {
    pipeline::process::main(&ip_intel::REGISTRATION)
}
