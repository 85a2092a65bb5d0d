//! The report of a whole run. The terminal's text, the JSON file and the page are all made from it,
//! so they cannot contradict each other.

use serde::{Deserialize, Serialize};

use crate::{
    finding::Finding,
    lab::{Mode, machine::Machine},
};

pub mod comparison;
pub mod file;
pub mod html;
#[cfg(test)]
pub mod made_up;
pub mod terminal;

/// The format of the JSON file. It is increased by a change that a program which reads the old
/// format would not understand.
pub const FORMAT: u32 = 2;

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    /// False if the run was interrupted.
    pub complete: bool,
    /// The names of the experiments that were not done before the interruption.
    pub missing: Vec<String>,
    pub mode: Mode,
    pub workers: usize,
    /// When it began, in UTC, in the form of RFC 3339.
    pub date: String,
    /// How long it took.
    pub seconds: f64,
    pub machine: Machine,
    pub experiments: Vec<Entry>,
}

/// One experiment of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    pub name: String,
    /// The notes' claim.
    pub claim: String,
    /// How long the experiment took.
    pub seconds: f64,
    #[serde(flatten)]
    pub finding: Finding,
    /// What others measured about the same question.
    pub published: Vec<Published>,
}

/// A figure that others have published.
#[derive(Debug, Serialize, Deserialize)]
pub struct Published {
    /// What was measured, and the result.
    pub figure: String,
    /// The author, the year, and the machine.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};

    use super::*;

    /// Other programs read these files. Before this test is changed, see [`FORMAT`].
    #[test]
    fn the_json_file_has_the_shape_that_the_readme_describes() {
        let report = to_value(made_up::report()).expect("it can be JSON");
        let keys = |value: &Value| -> String {
            let object = value.as_object().expect("it is an object");
            object.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        let of_report = "complete date experiments format machine missing mode seconds workers";
        assert_eq!(keys(&report), of_report);
        assert_eq!(report["format"], 2);
        assert_eq!(report["mode"], "default");
        let of_machine = "architecture cores cpu_quota governor huge_pages is_virtual kernel load_after \
                          load_before memory memory_available os processor profile program rustc smt \
                          throttled";
        assert_eq!(keys(&report["machine"]), of_machine);

        let entries = &report["experiments"];
        let of_entry = "claim headline left_out name plots published reason seconds tables verdict";
        assert_eq!(keys(&entries[0]), of_entry);
        assert_eq!(entries[4]["verdict"], "not_measured");
        assert_eq!(keys(&entries[0]["published"][0]), "figure source");

        let table = &entries[0]["tables"][0];
        assert_eq!(keys(table), "dots header rows title");
        let [median, low, high] = [25e-6, 25e-6 * 0.9, 25e-6 * 1.2];
        let figure =
            json!({"median": median, "low": low, "high": high, "samples": 12, "unit": "seconds"});
        assert_eq!(table["rows"][0][0], json!({"text": "thread"}));
        assert_eq!(table["rows"][0][1], json!({"figure": figure}));
        let outcome = json!({"text": "by abort, 0 < 3 lost", "good": false});
        assert_eq!(
            entries[1]["tables"][0]["rows"][1][1],
            json!({"outcome": outcome})
        );

        let plot = &entries[2]["plots"][1];
        let rate = json!({"label": "rate", "unit": "bytes_per_second", "logarithmic": true});
        assert_eq!(plot["y"], rate);
        let point =
            json!({"x": 64.0, "median": 5e6, "low": 5e6 * 0.9, "high": 5e6 * 1.2, "samples": 12});
        assert_eq!(plot["lines"][0]["points"][0], point);
    }

    #[test]
    fn the_json_file_can_be_read_back() {
        let text = serde_json::to_string(&made_up::report()).expect("it can be JSON");
        let report: Report = serde_json::from_str(&text).expect("it can be read");
        // The last digit of a number may differ, but the page does not show it.
        assert_eq!(html::page(&report), html::page(&made_up::report()));
    }
}
