//! What happens in a run: written from a seed before anything runs, so that it can be repeated, and cut down to what
//! makes it fail.
//!
//! First the commands in an order that makes sense, each naming what came before, mostly. Then life happens to them:
//! some come late, some twice, some with another content under the same key, some under another merchant. Then four
//! queues are emptied in batches of any size.

use std::fmt;

use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use serde_json::json;
use tests::story::{self, CUSTOMERS, MERCHANTS, Sent, name, worker};
use tests::world::WORKERS;

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// One worker takes these, in one transaction.
    Batch { worker: &'static str, commands: Vec<Sent> },
    /// Two of its lanes take these, at the same time.
    Race { worker: &'static str, lanes: [Vec<Sent>; 2] },
    /// A worker looks for parked commands that are due, and does nothing yet.
    Look { worker: &'static str },
    /// It decides those that it found, or looks first.
    Scan { worker: &'static str },
    /// The commissions worker looks for hold periods that are over, and lets those commissions mature, twice.
    Mature,
    /// Hold periods end: all, or about one in so many.
    Ripen { one_in: u32 },
    /// Those that wait must not wait any longer: all, or about one in so many.
    LosePatience { one_in: u32 },
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Nothing may wait for longer than its transaction.
    pub(super) impatient: bool,
    pub(super) steps: Vec<Step>,
}

impl Script {
    /// A random one.
    pub(super) fn write(seed: u64) -> Self {
        let mut writer = Writer(story::Writer::new(seed));
        let mut steps = writer.setting_out();
        let commands = writer.commands();
        steps.extend(writer.steps(commands));
        Self { impatient: writer.0.chance(12), steps }
    }

    /// How many commands are sent.
    pub(super) fn commands(&self) -> usize {
        self.steps.iter().map(Step::commands).sum()
    }

    /// All the ways to leave a stretch of this length out: of steps, or of a batch's commands.
    pub(super) fn cuts(&self, length: usize) -> Vec<Self> {
        let without = |steps: &[Step], from: usize, length: usize| {
            let rest = steps.iter().enumerate().filter(|(place, _)| !(from..from + length).contains(place));
            rest.map(|(_, step)| step.clone()).collect::<Vec<_>>()
        };
        let mut cuts: Vec<_> = (0..self.steps.len())
            .step_by(length)
            .map(|from| Self { steps: without(&self.steps, from, length), ..*self })
            .collect();
        for (place, step) in self.steps.iter().enumerate() {
            for fewer in step.cuts(length) {
                let mut script = self.clone();
                script.steps[place] = fewer;
                cuts.push(script);
            }
        }
        cuts
    }
}

impl Step {
    fn commands(&self) -> usize {
        match self {
            Self::Batch { commands, .. } => commands.len(),
            Self::Race { lanes: [first, second], .. } => first.len() + second.len(),
            _ => 0,
        }
    }

    fn cuts(&self, length: usize) -> Vec<Self> {
        let cut = |commands: &[Sent]| -> Vec<Vec<Sent>> {
            if commands.len() <= length {
                return Vec::new();
            }
            let from = (0..commands.len()).step_by(length);
            from.map(|from| {
                let rest = commands.iter().enumerate().filter(|(at, _)| !(from..from + length).contains(at));
                rest.map(|(_, sent)| sent.clone()).collect()
            })
            .collect()
        };
        match self {
            Self::Batch { worker, commands } => {
                cut(commands).into_iter().map(|commands| Self::Batch { worker, commands }).collect()
            }
            Self::Race { worker, lanes: [first, second] } => {
                let race = |first: &[Sent], second: &[Sent]| Self::Race {
                    worker,
                    lanes: [first.to_vec(), second.to_vec()],
                };
                let firsts = cut(first).into_iter().map(|fewer| race(&fewer, second));
                firsts.chain(cut(second).into_iter().map(|fewer| race(first, &fewer))).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "patience: {}", if self.impatient { "none" } else { "long" })?;
        for step in &self.steps {
            match step {
                Step::Batch { worker, commands } => {
                    writeln!(f, "{worker}:")?;
                    commands.iter().try_for_each(|sent| writeln!(f, "  {sent}"))?;
                }
                Step::Race { worker, lanes } => {
                    for (lane, commands) in lanes.iter().enumerate() {
                        writeln!(f, "{worker}, lane {lane}:")?;
                        commands.iter().try_for_each(|sent| writeln!(f, "  {sent}"))?;
                    }
                }
                other => writeln!(f, "{other:?}")?,
            }
        }
        Ok(())
    }
}

/// A story's commands and what the workers do.
struct Writer(story::Writer);

impl Writer {
    // ---- commands --------------------------------------------------------------------------------------------------

    /// Mostly there is a shop with customers who have earned something, before anything out of the ordinary happens.
    fn setting_out(&mut self) -> Vec<Step> {
        if self.0.chance(5) {
            return Vec::new();
        }
        let commands = self.0.setting_out(MERCHANTS[0]).into_iter();
        let (directory, earned) = commands.partition(|sent| worker(&sent.message) == "directory");
        let batch = |worker, commands| Step::Batch { worker, commands };
        vec![batch("directory", directory), batch("commissions", earned)]
    }

    fn commands(&mut self) -> Vec<Sent> {
        let mut commands = Vec::new();
        for merchant in MERCHANTS {
            if !self.0.chance(3) {
                commands.push(self.0.command("preferences.put", merchant));
            }
        }
        let count = self.0.rng.random_range(5..60);
        commands.extend(self.0.commands(count));
        if self.0.chance(60) {
            self.flood(&mut commands);
        }
        self.0.delay(&mut commands);
        self.repeat(&mut commands);
        commands
    }

    /// So much for one customer that the account is full, all but ten euros. Late, because it takes many commands.
    fn flood(&mut self, commands: &mut Vec<Sent>) {
        let mut sent = self.0.command("adjustment.credit", MERCHANTS[0]);
        sent.message["data"]["customer"] = json!(CUSTOMERS[0]);
        sent.message["data"]["amount"] = json!("999999999999.99");
        sent.message["data"]["currency"] = json!("EUR");
        let at = commands.len() - self.0.rng.random_range(0..=commands.len().min(12));
        let copies = (0..1000).map(|number| {
            let mut sent = sent.clone();
            sent.message["id"] = json!(format!("flood-{number}"));
            sent
        });
        commands.splice(at..at, copies);
    }

    /// Repeated, conflicting.
    fn repeat(&mut self, commands: &mut Vec<Sent>) {
        for _ in 0..commands.len().min(60) / 5 {
            let from = self.0.rng.random_range(0..commands.len());
            let mut copy = commands[from].clone();
            let merchant = |is: bool| {
                let merchant =
                    MERCHANTS.into_iter().find(|name| (copy.message["data"]["merchant"] == **name) == is);
                merchant.unwrap()
            };
            match self.0.rng.random_range(0..8) {
                // As it is.
                0..=3 => {}
                // Written otherwise.
                4 => {
                    if let Some(amount) =
                        copy.message["data"]["amount"].as_str().filter(|text| text.contains('.'))
                    {
                        copy.message["data"]["amount"] =
                            json!(amount.trim_end_matches('0').trim_end_matches('.'));
                    }
                    copy.message["time"] = json!("2020-01-01T00:00:00Z");
                }
                // Another content, perhaps another command.
                5 | 6 => {
                    let key = ["source", "id"].map(|field| copy.message[field].as_str().unwrap());
                    copy = self.0.other(name(&copy.message), merchant(true), key);
                }
                // Another merchant's.
                _ => copy.message["data"]["merchant"] = json!(merchant(false)),
            }
            let to = self.0.rng.random_range(from..=commands.len());
            commands.insert(to, copy);
        }
    }

    // ---- steps -----------------------------------------------------------------------------------------------------

    fn steps(&mut self, commands: Vec<Sent>) -> Vec<Step> {
        let mut queues = WORKERS.map(|name| (name, Vec::new()));
        let mut steps = Vec::new();
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() || queues.iter().any(|(_, queue)| !queue.is_empty()) {
            // Publishers and workers take turns, neither knowing of the other.
            let arriving = self.0.rng.random_range(0..12);
            for sent in commands.by_ref().take(arriving) {
                let name = worker(&sent.message);
                queues.iter_mut().find(|(queue, _)| *queue == name).unwrap().1.push(sent);
            }
            let last = commands.peek().is_none();
            for _ in 0..if last { 4 } else { self.0.rng.random_range(1..4) } {
                let (worker, queue) = &mut queues[self.0.rng.random_range(0..WORKERS.len())];
                let worker = *worker;
                let most = self.0.rng.random_range(1..12).min(queue.len());
                let flood = queue.iter().any(|sent: &Sent| is_flood(sent));
                let mut batch: Vec<_> = queue.drain(..if flood { queue.len() } else { most }).collect();
                if batch.len() > 1 && !flood && self.0.chance(5) {
                    let second = batch.split_off(batch.len() / 2);
                    steps.push(Step::Race { worker, lanes: [batch, second] });
                } else if !batch.is_empty() {
                    steps.push(Step::Batch { worker, commands: batch });
                }
            }
            match self.0.rng.random_range(0..10) {
                // What waits for a merchant or a customer is found by scans alone.
                0 | 1 => steps.push(Step::Scan { worker: "directory" }),
                2 | 3 => steps.push(Step::Scan { worker: self.0.any(&WORKERS) }),
                4 => steps.push(Step::Look { worker: self.0.any(&WORKERS) }),
                5 => steps.push(Step::Ripen { one_in: self.0.any(&[1, 2, 3]) }),
                6 => steps.extend([Step::Ripen { one_in: 2 }, Step::Mature]),
                7 => steps.push(Step::Mature),
                8 => steps.push(Step::LosePatience { one_in: self.0.any(&[2, 5]) }),
                _ => {}
            }
        }
        steps.extend(self.ending());
        steps
    }

    /// Nothing waits and nothing is pending any longer.
    fn ending(&mut self) -> Vec<Step> {
        let mut scans = WORKERS.map(|worker| Step::Scan { worker });
        let mut ending = Vec::new();
        for _ in 0..2 {
            scans.shuffle(&mut self.0.rng);
            ending.extend(scans.clone());
        }
        ending.push(Step::LosePatience { one_in: 1 });
        scans.shuffle(&mut self.0.rng);
        ending.extend(scans.clone());
        // What those have decided may be what others waited for.
        scans.shuffle(&mut self.0.rng);
        ending.extend(scans);
        ending.extend([Step::Ripen { one_in: 1 }, Step::Mature]);
        ending
    }
}

fn is_flood(sent: &Sent) -> bool {
    sent.message["id"].as_str().unwrap().starts_with("flood")
}
