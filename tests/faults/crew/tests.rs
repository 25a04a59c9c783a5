use std::process::Command;
use std::time::Duration;

use tests::{COMMISSIONS, MailServer, PATIENCE, World, credit, eventually};

use super::record::Answer;
use super::{Crew, Log};
use crate::schedule::{Peer, Worker};

/// Somebody's wrong note is here before long.
const SOON: Duration = Duration::from_secs(30);

struct Scene {
    world: World,
    crew: Crew,
    /// Without it nobody's mail server is there.
    mail: MailServer,
}

impl Scene {
    async fn new() -> Self {
        let (world, mail) = (World::new().await, MailServer::builder().start().await);
        let crew = Crew::start(&world, &mail).await.unwrap();
        Self { world, crew, mail }
    }

    async fn says(&self, worker: Worker, what: &str, wanted: impl Fn(&Answer) -> bool) {
        eventually(&format!("{worker} {what}"), SOON, || async {
            let answer = self.crew.member(worker).answer();
            if answer.as_ref().is_some_and(&wanted) { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    async fn ready(&self) {
        self.crew.wait_ready(SOON).await.unwrap();
    }

    async fn end(self) -> Log {
        let Self { crew, mail, .. } = self;
        let log = crew.end().await;
        drop(mail);
        log
    }
}

fn not_ready(answer: &Answer) -> bool {
    matches!(answer, Answer::NotReady(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_made_to_end_is_there_again_and_nobody_complains() {
    let scene = Scene::new().await;
    let crew = &scene.crew;
    tokio::join!(crew.kill("adjustments"), crew.kill("notifier"), crew.terminate("withdrawals"));
    crew.freeze("directory");
    scene.says("directory", "does not answer", |answer| *answer == Answer::Missing).await;
    crew.resume("directory");
    // One that is stopped ends as well.
    crew.freeze("directory");
    crew.terminate("directory").await;
    scene.ready().await;

    // Nothing comes to commissions' fault point, and then something does.
    assert!(!crew.kill_at("commissions", "received", Duration::from_secs(1)).await);
    scene.ready().await;
    let publisher = scene.world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "1.00")]).await;
    let once_decided = async {
        eventually("the commission is decided", PATIENCE, || async {
            let queued = publisher.queued(COMMISSIONS).await.ready;
            let decided = scene.world.count("SELECT count(*) FROM inbox").await;
            if (queued, decided) == (0, 1) { Ok(()) } else { Err((queued, decided)) }
        })
        .await;
        publisher.publish(&[credit("c-2", "anna", "1.00")]).await;
    };
    let ((), came) = tokio::join!(once_decided, crew.kill_at("commissions", "committed", SOON));
    assert!(came);
    scene.ready().await;
    assert_eq!(crew.problems(), [""; 0]);

    let log = scene.end().await;
    assert_eq!(log.problems, [""; 0]);
    assert_eq!(log.processes, 5 + 3 + 1 + 4);
    for watched in &log.watched {
        let of = |generations, downs| {
            let last = watched.spells.last().unwrap();
            assert_eq!((last.generation, &last.answer), (generations, &Answer::Ready), "{watched:?}");
            assert_eq!(watched.down.len(), downs, "{watched:?}");
            assert!(watched.spells.iter().all(|spell| spell.from <= spell.to), "{watched:?}");
            assert!(watched.spells.is_sorted_by_key(|spell| spell.from), "{watched:?}");
        };
        match watched.worker {
            "commissions" => of(5, 4),
            _ => of(2, 1),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_unasked_is_started_again_and_reported() {
    let scene = Scene::new().await;
    let process = scene.crew.member("directory").process_id().to_string();
    assert!(Command::new("kill").args(["-KILL", &process]).status().unwrap().success());
    eventually("it is missed", SOON, || async {
        if scene.crew.problems().is_empty() { Err(()) } else { Ok(()) }
    })
    .await;
    scene.ready().await;
    let log = scene.end().await;
    let [problem] = &log.problems[..] else { panic!("{:?}", log.problems) };
    assert!(problem.starts_with("directory (process 1) needed a restart by hand: signal: 9"), "{problem}");
    assert!(problem.contains(" INFO "), "its last words are missing: {problem}");

    let copies = ::tests::Scratch::new("logs");
    log.copy_to(copies.path().as_ref()).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(copies.path()).unwrap().map(|file| file.unwrap()).collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    let names: Vec<_> = names.iter().map(|file| file.file_name().into_string().unwrap()).collect();
    std::fs::remove_dir_all(copies.path()).unwrap();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(names.contains(&"directory-0002.log".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_relays_of_its_own() {
    let scene = Scene::new().await;
    let before: Vec<_> = scene.crew.members.iter().map(|member| member.record().spells.len()).collect();
    scene.crew.relay("commissions", Peer::Broker).cut();
    scene.crew.relay("notifier", Peer::Ledger).cut();
    scene.says("commissions", "misses its broker", not_ready).await;
    scene.says("notifier", "misses its ledger", not_ready).await;
    scene.crew.relay("commissions", Peer::Broker).restore();
    scene.crew.relay("notifier", Peer::Ledger).restore();
    scene.ready().await;
    let log = scene.end().await;
    assert_eq!(log.problems, [""; 0]);
    for (watched, before) in log.watched.iter().zip(before) {
        let concerned = ["commissions", "notifier"].contains(&watched.worker);
        assert_eq!(watched.spells.len() > before, concerned, "{watched:?}");
    }
}

#[test]
fn a_panic_is_found_in_a_log() {
    let log = "12:00 ERROR a panic place=\"src/lib.rs:7\"\n12:01 INFO consuming\nthread 'main' panicked at x";
    assert_eq!(super::panics(log).len(), 2);
}
