//! Every link to a file leads to a file that exists, and every link to a heading to a heading.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use super::{read, root, texts};

#[test]
fn every_link_leads_to_a_file_or_a_heading() {
    let mut failures = String::new();
    for text in texts() {
        for link in links(&read(&text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            if let Err(cause) = follow(&text, &link) {
                failures += &format!("{}: {link}: {cause}\n", text.display());
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn follow(text: &Path, link: &str) -> Result<(), String> {
    let (path, heading) = match link.split_once('#') {
        Some((path, heading)) => (path, Some(heading)),
        None => (link, None),
    };
    let target = if path.is_empty() {
        text.to_owned()
    } else {
        normal(&text.with_file_name(path))
    };
    if !root().join(&target).exists() {
        return Err("there is no such file".to_owned());
    }
    match heading {
        Some(heading) if !anchors(&read(&target)).iter().any(|a| a == heading) => {
            Err("there is no such heading".to_owned())
        }
        _ => Ok(()),
    }
}

/// The path without `..`: each one removes the part before it, as in a browser.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// The links of a text.
pub fn links(text: &str) -> Vec<String> {
    static LINK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"|^\[[^\]]+\]:\s+(\S+)"#)
            .expect("the pattern is valid")
    });
    let links = prose(text).flat_map(|line| {
        LINK.captures_iter(line)
            .map(|link| link.extract::<1>().1[0].to_owned())
            .collect::<Vec<_>>()
    });
    links.collect()
}

/// The anchors that GitHub gives to the headings of a text.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = prose(text).filter_map(|line| {
        let heading = line.strip_prefix('#')?.trim_start_matches('#');
        heading.strip_prefix(' ')
    });
    headings
        .map(|heading| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let anchor: String = heading.trim().to_lowercase().chars().filter(kept).collect();
            let anchor = anchor.replace(' ', "-");
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            match *times {
                1 => anchor,
                times => format!("{anchor}-{}", times - 1),
            }
        })
        .collect()
}

/// The lines of a text that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

#[test]
fn links_and_anchors_are_found_as_github_finds_them() {
    let text = "# A `b`: c?\n[x](y.md#z) ![p](p.svg)\n```\n# no heading [no](link)\n```\n\
        ## A b c\n<img src=\"q.svg\"> [out](https://example.org)\n[r]: s.md";
    assert_eq!(
        links(text),
        ["y.md#z", "p.svg", "q.svg", "https://example.org", "s.md"]
    );
    assert_eq!(anchors(text), ["a-b-c", "a-b-c-1"]);
    assert_eq!(
        anchors("# fork-demo: one process, two\n"),
        ["fork-demo-one-process-two"]
    );
}
