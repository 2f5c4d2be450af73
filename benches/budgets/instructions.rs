//! Instructions of the pure core, which are the same on a busy machine. The reference stands in `instructions.txt`: who makes the core slower on purpose
//! writes it anew.

use std::process::Command;

use crate::figure::{Budget, Figure, Unit};
use crate::progress;

/// Asks for passes of the pure core alone.
pub(crate) const FLAG: &str = "--passes";
const PASSES: u32 = 50;
/// Compilers differ by so much from release to release.
const TOLERANCE: f64 = 1.05;

/// None without valgrind.
pub(crate) fn measure() -> Option<Figure> {
    let Some((none, some)) = count(0).zip(count(PASSES)) else {
        progress("instructions are not counted: valgrind is not installed");
        return None;
    };
    let each = (some - none) / f64::from(PASSES) / 1000.0;
    progress(&format!("{each:.1} thousand instructions a pass"));
    let reference: f64 = include_str!("instructions.txt").trim().parse().expect("a number");
    let name = "thousand instructions, render + compare + plan, queue and key";
    Some(Figure::new(name, Unit::Count, Budget::AtMost(reference * TOLERANCE), vec![each]))
}

/// Instructions of this program with so many passes.
fn count(passes: u32) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([FLAG, &passes.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let count = told.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim().to_owned());
    Some(count.unwrap_or_else(|| panic!("valgrind counted nothing: {told}")).parse().expect("a number"))
}
