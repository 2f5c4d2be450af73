//! What became of each run, on file, so that a campaign goes on where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

/// A run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) scenario: String,
    pub(crate) plan: String,
    /// Whether what was planned took place: calls vary from run to run.
    pub(crate) disturbed: bool,
    /// AWS writes judged.
    pub(crate) writes: usize,
    pub(crate) duplicates: usize,
    pub(crate) orphans: usize,
    pub(crate) violations: usize,
    pub(crate) differs: bool,
    /// Whatever was wrong, the foregoing included; empty: nothing.
    pub(crate) wrong: Vec<String>,
    pub(crate) exits: usize,
    pub(crate) seconds: f64,
}

impl Run {
    /// What another process needs to do the same.
    pub(crate) fn id(&self) -> String {
        format!("{} | {}", self.scenario, self.plan)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// Which operator the lines after it are about.
    Operator(String),
    /// What the operator does in a scenario that nothing disturbs.
    Points {
        scenario: String,
        points: Vec<String>,
    },
    Run(Run),
}

/// The file and what is in it.
pub(crate) struct Results {
    file: File,
    pub(crate) points: BTreeMap<String, Vec<String>>,
    pub(crate) runs: Vec<Run>,
}

impl Results {
    /// What was found out about this operator; about another one it is forgotten.
    pub(crate) fn open(path: &Path, operator: &str, afresh: bool) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let is_same = !afresh && matches!(lines.next(), Some(Line::Operator(known)) if known == operator);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).expect("a directory");
        }
        let file = File::options().create(true).append(is_same).write(true).truncate(!is_same).open(path).expect("the results");
        let mut results = Self { file, points: BTreeMap::new(), runs: Vec::new() };
        if !is_same {
            results.write(&Line::Operator(operator.to_owned()));
            return results;
        }
        for line in lines {
            match line {
                Line::Points { scenario, points } => drop(results.points.insert(scenario, points)),
                Line::Run(run) => results.runs.push(run),
                Line::Operator(_) => {}
            }
        }
        results
    }

    fn write(&mut self, line: &Line) {
        let text = serde_json::to_string(line).expect("serialises");
        writeln!(self.file, "{text}").expect("the results are written");
    }

    pub(crate) fn add(&mut self, run: Run) {
        self.write(&Line::Run(run.clone()));
        self.runs.push(run);
    }

    pub(crate) fn know_points(&mut self, scenario: &str, points: &[String]) {
        self.write(&Line::Points { scenario: scenario.to_owned(), points: points.to_vec() });
        self.points.insert(scenario.to_owned(), points.to_vec());
    }

    pub(crate) fn done(&self) -> BTreeSet<String> {
        self.runs.iter().map(Run::id).collect()
    }

    /// One line for each scenario, and their sum.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY);
        let names =
            ["scenario", "points", "runs", "not met", "AWS writes judged", "duplicates", "orphans", "violations", "differing ends", "failures"];
        table.set_header(names);
        let mut scenarios: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            scenarios.entry(&run.scenario).or_default().push(run);
        }
        for (name, runs) in &scenarios {
            table.add_row(row(name, self.points.get(*name).map_or(0, Vec::len), runs));
        }
        let all: Vec<&Run> = self.runs.iter().collect();
        let points = scenarios.keys().filter_map(|name| self.points.get(*name)).map(Vec::len).sum();
        table.add_row(row(&format!("{} scenarios", scenarios.len()), points, &all));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

fn row(name: &str, points: usize, runs: &[&Run]) -> Vec<String> {
    let count = |what: fn(&Run) -> usize| runs.iter().map(|run| what(run)).sum::<usize>().to_string();
    vec![
        name.to_owned(),
        points.to_string(),
        runs.len().to_string(),
        count(|run| usize::from(!run.disturbed)),
        count(|run| run.writes),
        count(|run| run.duplicates),
        count(|run| run.orphans),
        count(|run| run.violations),
        count(|run| usize::from(run.differs)),
        count(|run| usize::from(!run.wrong.is_empty())),
    ]
}

/// Where everything is kept.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/crash-harness")
}
