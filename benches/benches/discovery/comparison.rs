//! The table and the plot of all policies over time.

use std::net::SocketAddr;
use std::time::Duration;

use benches::Table;
use swarm::world::{Churn, Network, Scene, Torrents, World};

use crate::Wanted;
use crate::asker::Asker;
use crate::crawler::Crawler;
use crate::engine::{Engine, OUR_IP};
use crate::one_node::OneNode;
use crate::own_id::OwnId;
use crate::plot::{Line, Panel, svg};
use crate::random_target::RandomTarget;
use crate::trial::{Point, Trial};

/// What one policy came to.
struct Course {
    name: &'static str,
    points: Vec<Point>,
    blocks: u64,
    wrong: u64,
    remotes: usize,
    uses: String,
}

const POLICIES: [(&str, &str); 4] = [
    ("this engine", "#c0392b"),
    ("own-id targets only", "#8e44ad"),
    ("one node", "#2980b9"),
    ("random targets", "#7f8c8d"),
];

pub(crate) fn compare(wanted: &Wanted) -> Result<(), String> {
    let hours = wanted.hours.unwrap_or(12).max(1);
    let packets_per_second = wanted.packets_per_second.unwrap_or(16).max(1);
    let scene = Scene {
        seed: wanted.seed.unwrap_or(1),
        nodes: wanted.nodes.unwrap_or(4_000),
        ipv6: 0.0,
        nated: 0.1,
        network: Network::with_loss(0.05),
        torrents: wanted.torrents.unwrap_or(8_000),
        traffic: Some(Torrents {
            births_per_hour: wanted.births.unwrap_or(300) as f64,
            ..Torrents::default()
        }),
        churn: Some(Churn::default()),
        ..Scene::default()
    };
    let courses: Result<Vec<Course>, String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..POLICIES.len())
            .map(|policy| {
                let scene = &scene;
                scope.spawn(move || course(policy, scene, hours, packets_per_second))
            })
            .collect();
        let stopped = |_| Err("a policy did not come to its end".to_owned());
        runs.into_iter().map(|run| run.join().unwrap_or_else(stopped)).collect()
    });
    let courses = courses?;
    println!(
        "{} nodes, {} torrents and {} new ones an hour, {packets_per_second} packets a second at the most, seed {}\n",
        scene.nodes,
        scene.torrents,
        wanted.births.unwrap_or(300),
        scene.seed
    );
    println!("true hashes known, of those that exist\n\n{}", known(&courses));
    println!("new hashes for a thousand queries since the row before\n\n{}", yields(&courses));
    println!("at the end\n\n{}", ends(&courses));
    println!("packets of {}: {}", courses[0].name, courses[0].uses);
    if let Some(path) = &wanted.svg {
        std::fs::write(path, plot(&courses))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

fn course(policy: usize, scene: &Scene, hours: u64, packets_per_second: u32) -> Result<Course, String> {
    let world = World::stage(scene);
    let bootstrap: Vec<SocketAddr> = world.live().take(3).collect();
    let asker = Asker::new((OUR_IP, 6_881).into(), scene.seed, packets_per_second);
    let name = POLICIES[policy].0;
    Ok(match policy {
        0 => {
            let engine = Engine::new(scene.seed, bootstrap, false, world.now, |config| {
                config.limits.packets_per_second = packets_per_second;
            });
            follow(name, Trial::new(world, engine.map_err(|error| error.to_string())?), hours)
        }
        1 => follow(name, Trial::new(world, OwnId::new(asker, bootstrap)), hours),
        2 => follow(name, Trial::new(world, OneNode::new(asker, bootstrap)), hours),
        _ => follow(name, Trial::new(world, RandomTarget::new(asker, bootstrap)), hours),
    })
}

fn follow<C: Crawler>(name: &'static str, mut trial: Trial<C>, hours: u64) -> Course {
    let mut points = vec![trial.point()];
    for step in 1..=hours * STEPS_AN_HOUR {
        trial.run_until(Duration::from_secs(step * 3_600 / STEPS_AN_HOUR));
        points.push(trial.point());
    }
    Course {
        name,
        points,
        blocks: trial.world.counts.blocks,
        wrong: trial.watch.wrong,
        remotes: trial.watch.remotes(),
        uses: trial.crawler.uses(),
    }
}

/// The points of a course at the hours that have a row.
fn rows(course: &Course) -> Vec<Point> {
    let wanted = |point: &&Point| ROWS.iter().any(|hours| (point.hours - hours).abs() < 0.01);
    course.points.iter().filter(wanted).copied().collect()
}

fn headings(courses: &[Course], last: &'static str) -> Table {
    Table::new(["after"].into_iter().chain(courses.iter().map(|course| course.name)).chain([last]))
}

fn known(courses: &[Course]) -> Table {
    let mut table = headings(courses, "exist");
    let columns: Vec<Vec<Point>> = courses.iter().map(rows).collect();
    for (row, at) in columns[0].iter().enumerate() {
        let cells = columns.iter().map(|points| {
            let share = 100.0 * points[row].found as f64 / points[row].exist.max(1) as f64;
            format!("{} ({share:.1} %)", points[row].found)
        });
        table.row([format!("{:.2} h", at.hours)].into_iter().chain(cells).chain([at.exist.to_string()]));
    }
    table
}

fn yields(courses: &[Course]) -> Table {
    let mut table = headings(courses, "");
    let columns: Vec<Vec<Point>> = courses.iter().map(rows).collect();
    for (row, at) in columns[0].iter().enumerate() {
        let cells = columns.iter().map(|points| {
            let (found, queries) = match row.checked_sub(1) {
                Some(before) => (points[before].found, points[before].queries),
                None => (0, 0),
            };
            format!("{:.0}", yield_of(points[row].found - found, points[row].queries - queries))
        });
        table.row([format!("{:.2} h", at.hours)].into_iter().chain(cells).chain([String::new()]));
    }
    table
}

fn ends(courses: &[Course]) -> Table {
    let mut table = headings(courses, "");
    let mut row = |name: &str, figure: &dyn Fn(&Course, &Point) -> String| {
        let cells = courses
            .iter()
            .map(|course| course.points.last().map_or_else(String::new, |last| figure(course, last)));
        table.row([name.to_owned()].into_iter().chain(cells).chain([String::new()]));
    };
    row("queries sent", &|_, last| last.queries.to_string());
    row("answers sent", &|_, last| last.answers.to_string());
    row("new hashes for 1,000 queries", &|_, last| format!("{:.0}", yield_of(last.found, last.queries)));
    row("  for 1,000 packets", &|_, last| {
        format!("{:.0}", yield_of(last.found, last.queries + last.answers))
    });
    row("endpoints asked", &|course, _| course.remotes.to_string());
    row("times that a libtorrent node blocked it", &|course, _| course.blocks.to_string());
    row("times that it was impolite", &|course, _| course.wrong.to_string());
    table
}

fn yield_of(found: usize, sent: u64) -> f64 {
    1_000.0 * found as f64 / sent.max(1) as f64
}

fn plot(courses: &[Course]) -> String {
    let line = |course: &Course, values: Vec<(f64, f64)>| {
        let color =
            POLICIES.iter().find(|(name, _)| *name == course.name).map_or("#000000", |(_, color)| color);
        Line { name: course.name, color, dashed: false, values }
    };
    let mut known: Vec<Line> = courses
        .iter()
        .map(|course| {
            line(course, course.points.iter().map(|point| (point.hours, point.found as f64)).collect())
        })
        .collect();
    if let Some(course) = courses.first() {
        let values = course.points.iter().map(|point| (point.hours, point.exist as f64)).collect();
        known.push(Line { name: "exist", color: "#2c3e50", dashed: true, values });
    }
    let hashes = Panel { title: "hashes known, by virtual hours", lines: known };
    let per_queries = courses
        .iter()
        .map(|course| {
            line(
                course,
                course.points.iter().map(|point| (point.queries as f64 / 1e3, point.found as f64)).collect(),
            )
        })
        .collect();
    let queries = Panel { title: "hashes known, by thousands of queries sent", lines: per_queries };
    svg(&[hashes, queries])
}

const STEPS_AN_HOUR: u64 = 4;

const ROWS: [f64; 9] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0, 18.0, 24.0];
