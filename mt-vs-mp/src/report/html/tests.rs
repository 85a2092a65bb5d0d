//! What the page promises, seen in a page made from a made-up report.

use roxmltree::{Document, Node};

use super::*;
use crate::{
    finding::{figure::Figure, interval::Interval, plot::Line, table::Cell},
    report::made_up,
};

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

/// The number in an attribute.
fn number(node: Node, attribute: &str) -> f64 {
    let text = node.attribute(attribute).expect("it has this attribute");
    text.parse().expect("it is a number")
}

/// The place of a mark, from the picture's upper left corner: to the right, and down.
fn place(mark: Node) -> (f64, f64) {
    if mark.has_tag_name("circle") {
        return (number(mark, "cx"), number(mark, "cy"));
    }
    let translation = mark.attribute("transform").expect("a path is moved");
    let numbers = translation.trim_start_matches("translate(");
    let (x, y) = numbers
        .trim_end_matches(')')
        .split_once(' ')
        .expect("there are two numbers");
    let [x, y] = [x, y].map(|it| it.parse().expect("it is a number"));
    (x, y)
}

/// The texts beside an axis, each with its coordinate: the one that the grid's line has.
fn ticks(picture: Node, coordinate: &str, class: &str) -> Vec<(String, f64)> {
    let texts = all(picture, "tick").into_iter();
    let beside = texts.filter(|tick| all(*tick, class).contains(tick));
    let ends = ["1", "2"].map(|end| format!("{coordinate}{end}"));
    let mut lines = all(picture, "grid");
    lines.retain(|line| line.attribute(&ends[0][..]) == line.attribute(&ends[1][..]));
    let lines = lines.into_iter().map(|line| number(line, &ends[0]));
    let ticks: Vec<_> = beside.map(text).zip(lines).collect();
    assert!(ticks.len() > 1, "{ticks:?}");
    ticks
}

/// The picture's size.
fn size(picture: Node) -> (f64, f64) {
    let view = picture.attribute("viewBox").expect("it has a size");
    let view: Vec<f64> = view
        .split(' ')
        .map(|it| it.parse().expect("it is a number"))
        .collect();
    assert_eq!(view[..2], [0.0, 0.0]);
    (view[2], view[3])
}

/// A report whose first table has these figures, drawn as dots.
fn with_dots(times: &[f64]) -> Report {
    let mut report = made_up::report();
    let table = &mut report.experiments[0].finding.tables[0];
    let rows = times.iter().map(|&time| {
        let interval = Interval {
            median: time,
            low: time / 2.0,
            high: time * 1.5,
            samples: 12,
        };
        let figure = Figure::new(interval, Unit::Seconds);
        vec!["way".into(), figure.into(), figure.into()]
    });
    table.rows = rows.collect();
    report
}

#[test]
fn a_dot_lies_under_its_name_and_at_its_value_on_the_axis() {
    let page = page(&with_dots(&[1.0, 2.0, 4.0]));
    let body = body(&page);
    let picture = element(&body, "dots")
        .descendants()
        .find(|node| node.attribute("role") == Some("img"))
        .expect("there is a picture");
    let (width, height) = size(picture);
    let ticks = ticks(picture, "x", "middle");
    let labels: Vec<_> = ticks.iter().map(|(label, _)| label.as_str()).collect();
    assert_eq!(labels, ["0", "2 s", "4 s", "6 s"]);
    let (begin, end) = (ticks[0].1, ticks[3].1);
    assert!(0.0 < begin && begin < end && end < width, "{ticks:?}");
    let at = |seconds: f64| begin + seconds / 6.0 * (end - begin);
    let mut above = 0.0;
    for (dot, seconds) in all(picture, "dot").into_iter().zip([1.0, 2.0, 4.0]) {
        let [mark, line] = ["mark", "interval"].map(|class| all(dot, class)[0]);
        let (x, y) = place(mark);
        assert!((x - at(seconds)).abs() < 0.11, "{seconds} s is at {x}");
        let [low, high] = ["x1", "x2"].map(|end| number(line, end));
        assert!((low - at(seconds / 2.0)).abs() < 0.11, "{low}");
        assert!((high - at(seconds * 1.5)).abs() < 0.11, "{high}");
        assert_eq!([number(line, "y1"), number(line, "y2")], [y, y]);
        let name = dot.descendants().find(|node| node.has_tag_name("text"));
        let name = number(name.expect("it has a name"), "y");
        assert!(above < name && name < y && y < height, "{name}, {y}");
        above = y;
    }
    for line in all(picture, "grid") {
        let [upper, lower] = ["y1", "y2"].map(|end| number(line, end));
        assert!(upper < above && above < lower && lower < height);
    }
    let label = all(picture, "label")[0];
    assert_eq!(text(label), "time");
    assert!(number(label, "y") < height);
}

#[test]
fn dots_that_are_far_apart_have_a_logarithmic_axis() {
    let is_logarithmic = |times: &[f64]| {
        let page = page(&with_dots(times));
        let body = body(&page);
        let pictures = all(element(&body, "dots"), "label");
        text(pictures[0]).ends_with(", logarithmic")
    };
    assert!(is_logarithmic(&[1.0, 2.0, 11.0]));
    assert!(!is_logarithmic(&[1.0, 2.0, 10.0]));
    // Zero has no place on such an axis.
    assert!(!is_logarithmic(&[0.0, 2.0, 11.0]));
    assert!(!is_logarithmic(&[0.0, 0.0]));
}

#[test]
fn a_point_lies_where_its_values_are_on_both_axes() {
    let page = page(&made_up::report());
    let body = body(&page);
    let lines = element(&body, "lines");
    let mut pictures = lines
        .descendants()
        .filter(|node| node.attribute("role") == Some("img"));
    let picture = pictures.next().expect("there is a picture");
    let (width, height) = size(picture);
    let (x, y) = (ticks(picture, "x", "middle"), ticks(picture, "y", "end"));
    let labels = |ticks: &[(String, f64)]| -> String {
        let labels = ticks.iter().map(|(label, _)| label.as_str());
        labels.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(labels(&x), "1, 2, 3, 4");
    assert_eq!(labels(&y), "0, 0.5 ×, 1 ×, 1.5 ×, 2 ×, 2.5 ×");
    let (left, right) = (x[0].1, x[3].1);
    let (bottom, top) = (y[0].1, y[5].1);
    assert!(0.0 < left && left < right && right < width);
    assert!(0.0 < top && top < bottom && bottom < height);
    let at = |workers: f64, speed_up: f64| {
        (
            left + (workers - 1.0) / 3.0 * (right - left),
            bottom - speed_up / 2.5 * (bottom - top),
        )
    };
    let near = |place: (f64, f64), expected: (f64, f64)| {
        (place.0 - expected.0).abs() < 0.11 && (place.1 - expected.1).abs() < 0.11
    };
    let values = [(1.0, 1.0), (2.0, 1.9), (4.0, 1.95), (1.0, 0.9), (2.0, 1.7)];
    for (point, (workers, speed_up)) in all(picture, "point").into_iter().zip(values) {
        let mark = place(all(point, "mark")[0]);
        assert!(near(mark, at(workers, speed_up)), "{mark:?}");
        let line = all(point, "interval")[0];
        let [low, high] = ["1", "2"].map(|end| {
            let [x, y] = ["x", "y"].map(|it| number(line, &format!("{it}{end}")));
            (x, y)
        });
        assert!(near(low, at(workers, speed_up * 0.9)), "{low:?}");
        assert!(near(high, at(workers, speed_up * 1.2)), "{high:?}");
    }

    // The lines go through the points.
    let path = |node: Node| -> Vec<(f64, f64)> {
        let path = node.attribute("d").expect("it is a path");
        let points = path.trim_start_matches('M').split('L');
        let point = |point: &str| {
            let (x, y) = point.split_once(',')?;
            Some((x.parse().ok()?, y.parse().ok()?))
        };
        points.map(|it| point(it).expect("two numbers")).collect()
    };
    let lines = all(picture, "line");
    assert_eq!(lines.len(), 2);
    for (line, values) in lines.into_iter().zip([&values[..3], &values[3..]]) {
        let path = path(line);
        assert_eq!(path.len(), values.len());
        for (place, &(workers, speed_up)) in path.into_iter().zip(values) {
            assert!(near(place, at(workers, speed_up)), "{place:?}");
        }
    }
    // The reference ends above the axis: the inner picture, which has the size of the grid, cuts it.
    let reference = all(picture, "reference")[0];
    let ends = path(reference);
    assert!(
        near(ends[0], at(1.0, 1.0)) && near(ends[1], at(4.0, 4.0)),
        "{ends:?}"
    );
    let inner = reference.parent_element().expect("it is in a picture");
    let [x, y, width, height] = ["x", "y", "width", "height"].map(|it| number(inner, it));
    assert_eq!((x, y, x + width, y + height), (left, top, right, bottom));
    assert_eq!(
        inner.attribute("viewBox"),
        Some(&format!("{x} {y} {width} {height}")[..])
    );
    let labels: Vec<_> = all(picture, "label").into_iter().map(text).collect();
    assert_eq!(labels, ["speed-up", "workers"]);
}

#[test]
fn a_legend_names_each_line_with_its_colour_and_its_mark() {
    let mut report = made_up::report();
    let lines = &mut report.experiments[2].finding.plots[0].lines;
    let point = |y| (1.0, Interval::of(&[y]));
    lines.extend((0..4).map(|number| Line::new("more", [point(f64::from(number))])));
    let page = page(&report);
    let body = body(&page);
    let lines = element(&body, "lines");
    let legend = all(lines, "legend")[0];
    let names: Vec<_> = legend
        .children()
        .map(|line| text(line).trim().to_owned())
        .collect();
    let expected = [
        "threads",
        "processes",
        "ideal",
        "more",
        "more",
        "more",
        "more",
    ];
    assert_eq!(names, expected);
    let picture = lines
        .descendants()
        .find(|node| node.attribute("role") == Some("img"))
        .expect("there is a picture");
    let parts = |node: Node| -> Vec<(String, Option<String>)> {
        let with_colour = node.descendants().filter(|node| {
            let class = node.attribute("class").unwrap_or_default();
            class.starts_with("colour-") && !all(*node, "line").is_empty()
        });
        let part = |node: Node| {
            let class = node.attribute("class").unwrap_or_default();
            let mark = all(node, "mark")[0].attribute("d");
            (class.to_owned(), mark.map(str::to_owned))
        };
        with_colour.map(part).collect()
    };
    let in_legend = parts(legend);
    assert_eq!(in_legend, parts(picture));
    // Six colours and four shapes: no two lines that were measured look the same.
    assert_eq!(in_legend.len(), 6);
    let [(_, one), (_, two), (_, three), ..] = &in_legend[..] else {
        panic!("{in_legend:?}");
    };
    assert!(one != two && two != three && three != one, "{in_legend:?}");
    for (number, (colour, mark)) in in_legend.iter().enumerate() {
        assert!(mark.as_ref().is_some_and(|mark| mark.starts_with('M')));
        let same = |other: &&(String, Option<String>)| (&other.0, &other.1) == (colour, mark);
        assert_eq!(in_legend.iter().filter(same).count(), 1, "line {number}");
        assert!(STYLE.contains(&format!(".{colour}")), "{colour}");
    }
    assert_eq!(all(legend, "reference").len(), 1);
}

#[test]
fn columns_of_numbers_are_aligned_and_those_of_texts_are_not() {
    let mut report = made_up::report();
    let table = &mut report.experiments[1].finding.tables[0];
    table.header.push("number".to_owned());
    table.header.push("some".to_owned());
    for (row, text) in table.rows.iter_mut().zip(["-", "2"]) {
        row.push("12".into());
        row.push(text.into());
    }
    let page = page(&report);
    let body = body(&page);
    let numbers = |id| -> Vec<bool> {
        let section = element(&body, id);
        let row = section
            .descendants()
            .filter(|node| node.has_tag_name("tr"))
            .nth(1);
        let cells = row.expect("it has rows").children();
        cells
            .map(|cell| cell.attribute("class") == Some("number"))
            .collect()
    };
    assert_eq!(numbers("dots"), [false, true, true]);
    assert_eq!(numbers("matrix"), [false, false, false, true, false]);
    let notes = all(element(&body, "dots"), "note").into_iter().map(text);
    assert!(
        notes
            .clone()
            .any(|note| note == "Median [95% interval] of 12 samples.")
    );
    // The matrix has no figures, so it has no samples.
    assert_eq!(all(element(&body, "matrix"), "note").len(), 1);
}

#[test]
fn the_run_its_machine_and_how_to_read_it_are_told() {
    let report = made_up::report();
    let told = |report: &Report| {
        let page = page(report);
        text(body(&page).root())
    };
    let page = told(&report);
    for part in [
        "a default run of 2 workers, 2026-01-02 03:04:05 UTC, 33.5 s.",
        "A processor & more, 2 cores, 8.00 GiB of memory, 5.00 GiB of it available",
        "a virtual machine, one thread to a core, huge pages: always, load 0.5 before the run, load 1.5 \
         after it",
        "mt-vs-mp 0.1.0, release build by rustc 1.95.0",
        "at least 95%",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    let mut other = made_up::report();
    other.machine.is_virtual = Some(false);
    other.machine.smt = Some(true);
    other.machine.governor = Some("powersave".to_owned());
    other.machine.cpu_quota = Some(1.5);
    let page = told(&other);
    let expected = "no virtual machine, two threads to a core, frequency governor powersave, huge pages: \
                    always, a quota of 1.50 processors, load";
    assert!(page.contains(expected), "{page}");
    other.machine = Machine {
        is_virtual: None,
        smt: None,
        governor: None,
        huge_pages: None,
        cpu_quota: None,
        load_before: None,
        load_after: None,
        ..other.machine
    };
    assert!(told(&other).contains("not told by this system"));
}

#[test]
fn what_others_measured_is_told_if_anything_is() {
    let mut report = made_up::report();
    report.experiments[1].published.clear();
    let page = page(&report);
    let body = body(&page);
    let published = |id| -> Vec<String> {
        let found = all(element(&body, id), "published").into_iter();
        found.map(text).collect()
    };
    let [others] = &published("dots")[..] else {
        panic!("{:?}", published("dots"));
    };
    assert!(others.ends_with("a thread 5 µs, a fork 22 µs Somebody & others, 2018"));
    assert!(published("matrix").is_empty());
    let left_out = |id| all(element(&body, id), "left-out").len();
    assert_eq!([left_out("dots"), left_out("absent")], [0, 1]);
    let signs: Vec<_> = all(
        element(&body, "ledger").parent().expect("a section"),
        "sign",
    )
    .into_iter()
    .map(text)
    .collect();
    assert_eq!(signs, ["✓", "±", "✗", "?", "–"]);
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
    assert!(!page(&report).contains("have no place"));
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
