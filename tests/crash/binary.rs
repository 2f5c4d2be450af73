//! The operator, going by the time that the harness sets.

#[path = "../../src/main.rs"]
mod operator;

fn main() -> std::process::ExitCode {
    operator::main()
}
