//! The table: a figure, its budget, what was measured, and whether it passes.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// What samples count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    /// Calls, writes: whole numbers, of which the worst is judged.
    Count,
    /// Of memory the worst is judged.
    Mebibytes,
    /// Of times the median is judged, since other processes have the machine too.
    Milliseconds,
    /// Of some times the 99th of a hundred is judged.
    SlowestMilliseconds,
    /// Shares: the worst is judged.
    Percent,
    /// Calls for each of many objects: the worst is judged.
    Each,
    /// As above.
    Microseconds,
}

/// What the samples are held to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// Nothing yet: shown for comparison with later runs.
    None,
    /// No more than this.
    AtMost(f64),
    /// Never less than the first, and no more than the second.
    Between(f64, f64),
}

/// One row.
pub(crate) struct Figure {
    name: String,
    unit: Unit,
    budget: Budget,
    samples: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, budget: Budget, samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a figure without a measurement");
        Self { name: name.into(), unit, budget, samples }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn verdict(&self) -> &'static str {
        let sorted = self.sorted();
        let (least, median, most) = (sorted[0], median(&sorted), sorted[sorted.len() - 1]);
        let judged = match self.unit {
            Unit::Count | Unit::Mebibytes | Unit::Percent | Unit::Each => most,
            Unit::SlowestMilliseconds => sorted[(sorted.len() * 99).div_ceil(100) - 1],
            Unit::Milliseconds | Unit::Microseconds => median,
        };
        match self.budget {
            Budget::None => "",
            Budget::AtMost(limit) if judged <= limit => "yes",
            Budget::Between(from, to) if least >= from && judged <= to => "yes",
            Budget::AtMost(_) | Budget::Between(..) => "no",
        }
    }

    fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Count => format!("{value:.0}"),
            Unit::Mebibytes => format!("{value:.1} MiB"),
            Unit::Milliseconds | Unit::SlowestMilliseconds => format!("{value:.0} ms"),
            Unit::Percent => format!("{value:.2} %"),
            Unit::Each => format!("{value:.2}"),
            Unit::Microseconds => format!("{value:.1} µs"),
        }
    }

    fn row(&self) -> [String; 7] {
        let sorted = self.sorted();
        let budget = match self.budget {
            Budget::None => String::new(),
            Budget::AtMost(limit) => format!("≤ {}", self.show(limit)),
            Budget::Between(from, to) => format!("{from:.0} to {}", self.show(to)),
        };
        let [least, median, most] = [sorted[0], median(&sorted), sorted[sorted.len() - 1]].map(|value| self.show(value));
        [self.name.clone(), budget, least, median, most, sorted.len().to_string(), self.verdict().to_owned()]
    }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// All rows.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Extend<Figure> for Figures {
    fn extend<T: IntoIterator<Item = Figure>>(&mut self, figures: T) {
        self.0.extend(figures);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["figure", "budget", "min", "median", "max", "runs", "pass"]);
        for figure in &self.0 {
            table.add_row(figure.row());
        }
        for column in table.column_iter_mut().skip(1).take(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(formatter, "{table}")
    }
}
