//! The commands of `encrypted-queue`, a module each.

pub mod adopt;
pub mod approve;
pub mod audit;
pub mod cost;
pub mod crds;
pub mod explain;
pub mod plan;
mod pod_identity;
pub mod reader;
pub mod run;
mod selector;
pub mod who_decrypted;

use std::io::{self, IsTerminal, Write};

/// Asks a person; none: this is not a terminal, where somebody could be asked.
fn confirmed(question: &str) -> io::Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}
