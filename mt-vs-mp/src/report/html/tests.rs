//! What the page promises, seen in a page made from a made-up report.

use roxmltree::{Document, Node};

use super::*;
use crate::{finding::table::Cell, report::made_up};

/// The page's body, which is XML too. (Its head is not: `meta` has no end.)
fn body(page: &str) -> Document<'_> {
    let begin = page.find("<body>").expect("the page has a body");
    let end = page.find("</html>").expect("the page has an end");
    Document::parse(&page[begin..end]).expect("the page is well-formed")
}

fn all<'a, 'i>(node: Node<'a, 'i>, class: &str) -> Vec<Node<'a, 'i>> {
    let has = |node: &Node| {
        let classes = node.attribute("class").unwrap_or_default();
        classes.split(' ').any(|one| one == class)
    };
    node.descendants().filter(has).collect()
}

fn text(node: Node) -> String {
    let texts = node.descendants().filter(Node::is_text);
    texts.filter_map(|node| node.text()).collect()
}

/// The element of this id.
fn element<'a, 'i>(document: &'a Document<'i>, id: &str) -> Node<'a, 'i> {
    let mut found = document
        .descendants()
        .filter(|node| node.attribute("id") == Some(id));
    let element = found
        .next()
        .unwrap_or_else(|| panic!("nothing has the id {id}"));
    assert!(found.next().is_none(), "two have the id {id}");
    element
}

#[test]
fn the_ledger_and_a_section_give_each_experiments_claim_verdict_and_figures() {
    let report = made_up::report();
    let page = page(&report);
    let body = body(&page);
    let ledger = element(&body, "ledger")
        .parent_element()
        .expect("it is in a section");
    let links: Vec<_> = ledger
        .descendants()
        .filter_map(|node| node.attribute("href"))
        .collect();
    assert_eq!(links, ["#dots", "#matrix", "#lines", "#wide", "#absent"]);
    for entry in &report.experiments {
        let section = element(&body, &entry.name);
        for text in [text(section), text(ledger)] {
            assert!(text.contains(&entry.claim), "{text}");
            assert!(text.contains(entry.finding.verdict.word()), "{text}");
        }
        assert!(text(ledger).contains(&unbroken(&entry.finding.headline)));
        assert!(text(section).contains(&entry.finding.reason));
        for what in &entry.finding.left_out {
            assert!(text(section).contains(what));
        }
    }
}

#[test]
fn a_table_has_all_cells_and_each_column_and_row_a_head() {
    let report = made_up::report();
    let page = page(&report);
    let body = body(&page);
    for entry in &report.experiments {
        let tables = element(&body, &entry.name)
            .descendants()
            .filter(|node| node.has_tag_name("table"));
        assert_eq!(tables.clone().count(), entry.finding.tables.len());
        for (drawn, table) in tables.zip(&entry.finding.tables) {
            let scopes = |scope| {
                drawn
                    .descendants()
                    .filter(|node| node.attribute("scope") == Some(scope))
                    .count()
            };
            assert_eq!(scopes("col"), table.header.len());
            assert_eq!(scopes("row"), table.rows.len());
            let cells = drawn.descendants().filter(|node| node.has_tag_name("td"));
            assert_eq!(cells.count(), table.rows.len() * (table.header.len() - 1));
            assert!(text(drawn).contains(&table.title));
        }
    }
    let matrix = element(&body, "matrix");
    let marks: Vec<_> = all(matrix, "outcome").into_iter().map(text).collect();
    assert_eq!(marks[0], "✓by panic, 0 < 3 lost");
    assert_eq!(marks[2], "✗by abort, 0 < 3 lost");
}

#[test]
fn a_plot_has_a_point_for_each_point_and_a_table_a_dot_for_each_row() {
    let page = page(&made_up::report());
    let body = body(&page);
    let pictures = |id| -> Vec<Node> {
        element(&body, id)
            .descendants()
            .filter(|node| node.attribute("role") == Some("img"))
            .collect()
    };
    let lines = pictures("lines");
    assert_eq!(all(lines[0], "point").len(), 5);
    assert_eq!(all(lines[0], "reference").len(), 1);
    assert_eq!(all(lines[1], "point").len(), 4);
    let dots = pictures("dots");
    assert_eq!(all(dots[0], "dot").len(), 3);
    for picture in lines.iter().chain(&dots) {
        assert!(picture.attribute("aria-label").is_some());
        assert_eq!(
            all(*picture, "interval").len(),
            all(*picture, "point").len() + all(*picture, "dot").len()
        );
    }
}

#[test]
fn a_figure_of_fewer_than_six_samples_has_no_interval_in_tables_dots_and_plots() {
    let mut report = made_up::report();
    let Cell::Figure(figure) = &mut report.experiments[0].finding.tables[0].rows[0][1] else {
        panic!("it is a figure");
    };
    figure.interval.samples = 5;
    let line = &mut report.experiments[2].finding.plots[0].lines[0];
    line.points[0].y.samples = 5;
    let intervals = |report: &Report| {
        let page = page(report);
        let body = body(&page);
        ["range", "interval"].map(|class| all(body.root(), class).len())
    };
    let [ranges, lines] = intervals(&made_up::report());
    assert_eq!(intervals(&report), [ranges - 1, lines - 2]);
    let page = page(&report);
    assert!(page.contains("<title>thread: 25.0 µs</title>"), "{page}");
    assert!(page.contains("1.00 ×, 5 samples"), "{page}");
}

#[test]
fn a_dot_has_the_name_of_its_row_however_many_columns_that_takes() {
    let mut report = made_up::report();
    let table = &mut report.experiments[0].finding.tables[0];
    table.header.insert(0, "on".to_owned());
    for row in &mut table.rows {
        row.insert(0, "any core".into());
    }
    table.dots = Some(2);
    let page = page(&report);
    let body = body(&page);
    let dots: Vec<_> = all(body.root(), "dot").into_iter().map(text).collect();
    assert!(
        dots[1].contains("any core, fork & wait: 180 µs"),
        "{dots:?}"
    );
}

#[test]
fn a_figure_in_a_sentence_is_not_broken() {
    let text = "it takes 2.00 × [1.90, 2.10] as long, or 25.0 µs [20 µs, 30 µs], and [no more";
    let broken = unbroken(text).replace('\u{a0}', "_");
    assert_eq!(
        broken,
        "it takes 2.00_×_[1.90,_2.10] as long, or 25.0 µs_[20_µs,_30_µs], and_[no_more"
    );
    assert_eq!(unbroken("none at all"), "none at all");
}

#[test]
fn points_without_a_position_on_a_logarithmic_axis_are_counted() {
    let mut report = made_up::report();
    report.experiments[2].finding.plots[1].lines[0].points[0].x = 0.0;
    let page = page(&report);
    let body = body(&page);
    assert_eq!(all(body.root(), "point").len(), 8);
    assert!(text(element(&body, "lines")).contains("1 values at or below zero have no place"));
}

#[test]
fn what_is_wrong_with_a_run_stands_on_top() {
    let warnings = |report: &Report| -> Vec<String> {
        let page = page(report);
        let body = body(&page);
        all(body.root(), "warning").into_iter().map(text).collect()
    };
    let mut report = made_up::report();
    assert!(warnings(&report).is_empty());
    report.complete = false;
    report.missing = vec!["late".to_owned(), "last".to_owned()];
    report.machine.profile = "debug".to_owned();
    let warnings = warnings(&report);
    assert!(warnings[0].contains("incomplete"), "{warnings:?}");
    assert!(warnings[0].contains("to late, last."), "{warnings:?}");
    assert!(warnings[1].contains("debug build"), "{warnings:?}");
}

#[test]
fn the_page_needs_nothing_else() {
    let page = page(&made_up::report());
    for foreign in [
        "<script", "http:", "https:", "<link", "src=", "url(", "@import",
    ] {
        assert!(!page.contains(foreign), "the page has {foreign}");
    }
    assert!(page.contains("An &lt;OS&gt;") && !page.contains("<OS>"));
}
