#![expect(clippy::float_arithmetic, reason = "figures are made up")]

use serde_json::Value;

use super::goals::Goal;
use super::table::{number, precise};
use super::{drain_to_naive, goals, plots, print, write};
use crate::figures::{Case, Cpu, Figures, Latency, Measured, RoundTrip, Size, Statement};

fn measured(case: Case, round: usize, commands: u64) -> Measured {
    let cpu = Cpu { worker: 0.3, postgres: 0.45, broker: 0.25, publisher: 0.0 };
    Measured { case, round, commands, seconds: 10.0, cpu, wal: commands * 600, memory: vec![20 << 20] }
}

fn latency(round: usize, load: f64, p50: f64, p99: f64) -> Latency {
    let curve = vec![(0.0, p50 / 2.0), (0.5, p50), (0.99, p99), (1.0, p99 * 3.0)];
    Latency {
        round,
        load,
        rate: 120.0,
        samples: 3_600,
        busy: Cpu { worker: 0.2, postgres: 0.3, broker: 0.4, publisher: 0.1 },
        p50,
        p99,
        p999: p99 * 2.0,
        max: p99 * 3.0,
        curve,
    }
}

fn trip(round: usize, both: f64) -> RoundTrip {
    RoundTrip { round, commit: both / 2.0, confirm: both / 2.0, both }
}

fn statement(text: &str, micros: f64) -> Statement {
    Statement { round: 1, text: text.to_owned(), calls: 400, micros, wal: 310.0 }
}

/// One round of everything.
fn full() -> Figures {
    let cases = [
        (Case::Limit, 250_000),
        (Case::Sql, 310_000),
        (Case::NaiveOne, 4_000),
        (Case::NaiveSixteen, 14_000),
        (Case::Drain, 190_000),
        (Case::HotOne, 185_000),
        (Case::HotZipf, 150_000),
        (Case::GrowthEmpty, 142_000),
        (Case::GrowthRandom, 118_000),
        (Case::GrowthOrdered, 133_000),
        (Case::WorkersTwo, 189_000),
        (Case::WorkersFour, 177_000),
        (Case::Withdrawals, 94_000),
        (Case::Adjustments, 134_000),
        (Case::Live, 121_000),
    ];
    Figures {
        machine: vec![("cores".to_owned(), "2".to_owned())],
        measured: cases.into_iter().map(|(case, commands)| measured(case, 1, commands)).collect(),
        latencies: vec![latency(1, 0.01, 0.003, 0.006), latency(1, 0.5, 0.005, 0.02)],
        round_trips: vec![trip(1, 0.0015)],
        size: Some(Size {
            entries: 10_000_000,
            accounts: 1_000_000,
            entry: 2_530_000_000,
            entry_indexes: 410_000_000,
            inbox: 3_930_000_000,
            inbox_indexes: 1_110_000_000,
            account: 212_000_000,
            account_indexes: 95_000_000,
        }),
        statements: vec![statement("COMMIT", 2.1), statement("INSERT INTO\n  a|b", 14.2)],
    }
}

fn goal(figures: &Figures, what: &str) -> Goal {
    goals(figures).into_iter().find(|goal| goal.what == what).expect("there is such a goal")
}

fn about(reached: Option<f64>, expected: f64) -> bool {
    reached.is_some_and(|reached| (reached - expected).abs() < 1e-9)
}

#[test]
fn a_goal_is_met_or_missed_or_was_not_measured() {
    let figures = full();
    assert_eq!(goal(&figures, "drain / limit").met(), Some(true));
    assert_eq!(goal(&figures, "drain / naive-sixteen").met(), Some(true));
    assert_eq!(goal(&figures, "hot-zipf / drain").met(), Some(false));
    assert_eq!(goal(&figures, "p99 without load / round trip").met(), Some(true));
    assert!(about(goal(&figures, "p50 without load / round trip").reached, 2.0), "not the one under load");
    assert_eq!(goals(&Figures::default()).len(), goals(&figures).len());
    assert!(goals(&Figures::default()).iter().all(|goal| goal.met().is_none()));
}

#[test]
fn what_must_be_less_than_its_goal_is_not_met_by_equalling_it() {
    let goal = |at_least| Goal { what: String::new(), needed: 4.0, reached: Some(4.0), at_least };
    assert_eq!(goal(true).met(), Some(true));
    assert_eq!(goal(false).met(), Some(false));
}

#[test]
fn ratios_are_taken_within_a_round_before_their_median() {
    let mut figures = Figures::default();
    // 0.5, 1, 0.25: the median is 0.5, whereas the medians of both are the same.
    for (round, drain, limit) in [(1, 100, 200), (2, 2_000, 2_000), (3, 30_000, 120_000)] {
        figures.measured.push(measured(Case::Limit, round, limit));
        figures.measured.push(measured(Case::Drain, round, drain));
    }
    for (round, p50, both) in [(1, 0.001, 0.001), (2, 0.006, 0.002), (3, 0.002, 0.001)] {
        figures.latencies.push(latency(round, 0.01, p50, 0.01));
        figures.round_trips.push(trip(round, both));
    }
    assert!(about(goal(&figures, "drain / limit").reached, 0.5));
    assert!(about(goal(&figures, "p50 without load / round trip").reached, 2.0));
}

#[test]
fn a_round_that_lacks_one_side_of_a_ratio_does_not_count() {
    let mut figures = Figures::default();
    figures.measured.push(measured(Case::Drain, 1, 160_000));
    assert_eq!(drain_to_naive(&figures), None);
    figures.measured.push(measured(Case::NaiveSixteen, 2, 10_000));
    assert_eq!(drain_to_naive(&figures), None);
    figures.measured.push(measured(Case::Drain, 2, 140_000));
    assert!(about(drain_to_naive(&figures), 14.0));
}

#[test]
fn one_worker_in_one_round_can_miss_the_memory_goal() {
    let mut figures = full();
    let mut workers = measured(Case::WorkersTwo, 2, 190_000);
    workers.memory = vec![20 << 20, 64 << 20];
    figures.measured.push(workers);
    let memory = goal(&figures, "peak memory of a worker, MiB");
    assert!(about(memory.reached, 64.0));
    assert_eq!(memory.met(), Some(false));
}

#[test]
fn numbers_have_three_digits_or_separators() {
    let cases = [(0.0, "0"), (0.674, "0.674"), (9.99, "9.99"), (9.999, "10.0"), (99.96, "100")];
    for (value, shown) in cases.into_iter().chain([(17_381.4, "17,381"), (1_234_567.0, "1,234,567")]) {
        assert_eq!(number(value), shown);
    }
    assert_eq!(number(f64::NAN), "–");
    assert_eq!(precise(1.2345), "1.234");
}

#[test]
fn the_terminal_shows_every_table_with_what_it_says() {
    let text = print(&full());
    let row = |start: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("drain "), "drain 1 19,000 19,000..19,000 0.760 1.58 2.37 1.32 0 600 20.0");
    assert_eq!(row("1% "), "1% 120 3,600 1.00 3.00 6.00 12.0 18.0 2.00 4.00 8.00 12.0");
    assert_eq!(row("entry "), "entry 10,000,000 212,000,000 41,000,000 253,000,000");
    assert_eq!(row("hot-zipf / "), "hot-zipf / drain 0.789 ≥ 0.8 NOT met");
    let place = |words: &str| text.find(words).expect("it is shown");
    assert!(place("INSERT INTO a|b") < place("COMMIT"), "the dearest statement comes first");
}

#[test]
fn what_was_not_measured_is_called_that() {
    let text = print(&Figures::default());
    assert_eq!(text.matches("not measured").count(), goals(&Figures::default()).len());
    assert!(!text.contains("CASES"));
}

#[test]
fn plots_are_well_formed_and_nothing_lies_outside() {
    for (name, plot) in plots::all(&full()).expect("they can be drawn") {
        let plot = plot.unwrap_or_else(|| panic!("{name} has something to show"));
        assert!(plot.starts_with("<svg ") && plot.trim_end().ends_with("</svg>"), "{name}");
        let (open, closed) = (plot.matches('<').count(), plot.matches("</").count());
        assert_eq!(open - closed, closed + plot.matches("/>").count(), "{name}: every tag is closed");
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{name}");
        for (attribute, most) in [(" x=\"", 900), (" x1=\"", 900), (" y=\"", 500), (" y2=\"", 500)] {
            for at in plot.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!((0..=most).contains(&at.parse().unwrap_or(-1)), "{name}:{attribute}{at}");
            }
        }
    }
}

#[test]
fn a_folder_has_what_was_measured_and_no_plot_of_an_earlier_run() {
    let folder = std::env::temp_dir().join(format!("bench-report-{}", std::process::id()));
    write(&full(), &folder).unwrap();
    let json: Value = serde_json::from_slice(&std::fs::read(folder.join("results.json")).unwrap()).unwrap();
    assert_eq!(json["goals"][0]["met"], true);
    assert_eq!(json["cases"][0]["case"], "limit");
    assert_eq!(json["figures"]["measured"][0]["commands"], 250_000);
    let markdown = std::fs::read_to_string(folder.join("results.md")).unwrap();
    assert!(markdown.contains("INSERT INTO a\\|b") && markdown.contains("![latency.svg](latency.svg)"));

    let drain = Figures { measured: vec![measured(Case::Drain, 1, 100)], ..Figures::default() };
    write(&drain, &folder).unwrap();
    assert!(folder.join("rates.svg").exists());
    assert!(!folder.join("latency.svg").exists());
    std::fs::remove_dir_all(folder).unwrap();
}
