//! Rows, their aims, the table and the file.

use std::{fmt::Write as _, path::Path};

use serde::{Serialize, Serializer};

use crate::figures::{median, spread};

/// What a row should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// The ratio to the limit, at least.
    RatioAtLeast(f64),
    /// The ratio to the limit, at most.
    RatioAtMost(f64),
    /// The figure itself, at most.
    AtMost(f64),
}

impl Aim {
    fn text(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(share) => format!("≥ {:.0} %", share * 100.0),
            Self::RatioAtMost(factor) => format!("× ≤ {factor:.2}"),
            Self::AtMost(most) => format!("≤ {} {unit}", number(most)),
        }
    }

    fn is_met(self, ours: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::RatioAtLeast(share) => ratio.is_some_and(|ratio| ratio >= share),
            Self::RatioAtMost(factor) => ratio.is_some_and(|ratio| ratio <= factor),
            Self::AtMost(most) => ours <= most,
        }
    }
}

/// CPU seconds for 10,000 units of work, over all processes of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cpu {
    #[serde(serialize_with = "rounded")]
    pub(crate) ours: f64,
    #[serde(serialize_with = "rounded")]
    pub(crate) limit: f64,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    name: String,
    unit: String,
    #[serde(serialize_with = "rounded")]
    ours: f64,
    #[serde(serialize_with = "rounded_if_any")]
    limit: Option<f64>,
    #[serde(serialize_with = "rounded_if_any")]
    ratio: Option<f64>,
    /// Range of the rounds of ours, as a share of their median.
    #[serde(serialize_with = "rounded")]
    spread: f64,
    aim: Option<String>,
    met: Option<bool>,
    cpu: Option<Cpu>,
}

impl Row {
    /// A row without a limit: the median of its rounds.
    pub(crate) fn alone(name: impl Into<String>, unit: &str, rounds: &[f64]) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            ours: median(rounds),
            limit: None,
            ratio: None,
            spread: spread(rounds),
            aim: None,
            met: None,
            cpu: None,
        }
    }

    /// A row beside its limit: the medians of both.
    pub(crate) fn beside(name: impl Into<String>, unit: &str, ours: &[f64], limit: &[f64]) -> Self {
        let most = median(limit);
        let row = Self::alone(name, unit, ours);
        Self { limit: Some(most), ratio: (most != 0.0).then_some(row.ours / most), ..row }
    }

    pub(crate) fn aim(self, aim: Aim) -> Self {
        let met = aim.is_met(self.ours, self.ratio);
        Self { aim: Some(aim.text(&self.unit)), met: Some(met), ..self }
    }

    pub(crate) fn cpu(self, ours: &[f64], limit: &[f64]) -> Self {
        Self { cpu: Some(Cpu { ours: median(ours), limit: median(limit) }), ..self }
    }

    fn cells(&self) -> [String; 9] {
        let some = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let met = self.met.map(|met| if met { "yes" } else { "no" }.to_owned());
        [
            self.name.clone(),
            self.unit.clone(),
            number(self.ours),
            some(self.limit.map(number)),
            some(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            format!("{:.0} %", self.spread * 100.0),
            some(self.aim.clone()),
            some(met),
            some(self.cpu.map(|cpu| format!("{:.2} / {:.2}", cpu.ours, cpu.limit))),
        ]
    }
}

/// Everything that a run gives.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) rows: Vec<Row>,
    /// What could not be measured, and why.
    pub(crate) failed: Vec<String>,
}

const HEADS: [&str; 9] =
    ["row", "unit", "ours", "limit", "ratio", "spread", "aim", "met", "CPU s per 10,000, ours / limit"];

impl Report {
    pub(crate) const fn new(machine: String, commit: String) -> Self {
        Self { machine, commit, rows: Vec::new(), failed: Vec::new() }
    }

    /// The table, as Markdown that is easy to read as it is.
    pub(crate) fn table(&self) -> String {
        let mut lines: Vec<[String; 9]> = vec![HEADS.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..HEADS.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = format!("machine: {}\ncommit: {}\n\n", self.machine, self.commit);
        for (at, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
            writeln!(text, "|{}|", cells.collect::<Vec<_>>().join("|")).unwrap_or_default();
            if at == 0 {
                let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>();
                writeln!(text, "|{}|", rule.join("|")).unwrap_or_default();
            }
        }
        for failed in &self.failed {
            writeln!(text, "not measured: {failed}").unwrap_or_default();
        }
        text
    }

    /// Writes the file.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }
}

/// Three digits that count; whole when large.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == size.trunc() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 10_000.0).round() / 10_000.0)
}

fn rounded_if_any<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => rounded(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("two cores".to_owned(), "abc1234".to_owned());
        report.rows = vec![
            Row::beside("ingest", "events/s", &[500.0, 400.0, 600.0], &[1_000.0])
                .aim(Aim::RatioAtLeast(0.5))
                .cpu(&[1.0], &[0.25]),
            Row::alone("p99", "ms", &[12.345]).aim(Aim::AtMost(10.0)),
        ];
        report
    }

    #[test]
    fn the_table_has_a_line_a_row_with_ratio_and_aim() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[..2], ["machine: two cores", "commit: abc1234"]);
        let words: Vec<&str> = lines[5].split('|').map(str::trim).collect();
        let expected =
            ["", "ingest", "events/s", "500", "1000", "0.50", "40 %", "≥ 50 %", "yes", "1.00 / 0.25", ""];
        assert_eq!(words, expected);
        let words: Vec<&str> = lines[6].split('|').map(str::trim).collect();
        assert_eq!(words, ["", "p99", "ms", "12.3", "–", "–", "0 %", "≤ 10 ms", "no", "–", ""]);
        let widths: std::collections::BTreeSet<usize> =
            lines[3..].iter().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "the columns do not line up:\n{table}");
    }

    #[test]
    fn the_file_has_the_members_that_readers_expect() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["machine"], "two cores");
        assert_eq!(json["commit"], "abc1234");
        let row = &json["rows"][0];
        for member in ["name", "unit", "ours", "limit", "ratio", "spread", "aim", "met"] {
            assert!(row.get(member).is_some(), "{member} is missing");
        }
        assert_eq!((&row["ratio"], &row["met"]), (&0.5.into(), &true.into()));
        assert_eq!((&json["rows"][1]["limit"], &json["rows"][1]["met"]), (&().into(), &false.into()));
    }

    #[test]
    fn a_factor_is_met_up_to_its_bound() {
        let row = |ours| Row::beside("hang", "ms", &[ours], &[10.0]).aim(Aim::RatioAtMost(1.1));
        assert_eq!((row(11.0).met, row(11.5).met), (Some(true), Some(false)));
        assert_eq!(row(11.0).aim.as_deref(), Some("× ≤ 1.10"));
    }

    #[test]
    fn what_failed_is_named() {
        let mut report = report();
        report.failed.push("push: no broker".to_owned());
        assert!(report.table().ends_with("not measured: push: no broker\n"));
    }
}
