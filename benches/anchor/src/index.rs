//! The index of so many torrents.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use benches::{corpus::Corpus, thread_cpu_time};
use nix::time::{ClockId, clock_gettime};
use tantivy::{Index, IndexWriter, indexer::IndexWriterOptions, merge_policy::NoMergePolicy};

use crate::{fields::Fields, said};

/// Bytes that the one thread that writes may gather before it writes a segment.
const WRITER_BYTES: usize = 300_000_000;

/// Between two lines of progress.
const PROGRESS: u64 = 250_000;

/// An index and, when it was just made, what making it took.
pub(crate) struct Ready {
    pub(crate) index: Index,
    pub(crate) made: Option<String>,
}

/// The index of torrents 0 to `count`, from an earlier run or made anew.
pub(crate) fn ready(directory: &Path, corpus: &Corpus, count: u64) -> Result<Ready, String> {
    if let Ok(index) = Index::open_in_dir(directory)
        && index.reader().map_err(said)?.searcher().num_docs() == count
    {
        return Ok(Ready { index, made: None });
    }
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(said)?;
    }
    std::fs::create_dir_all(directory).map_err(said)?;
    let (schema, fields) = Fields::new();
    let index = Index::create_in_dir(directory, schema).map_err(said)?;
    let made = make(&index, fields, corpus, count)?;
    Ok(Ready { index, made: Some(made) })
}

/// Writes all torrents and merges what was written into one segment: as the database makes its indexes after its rows, each
/// is at its best.
pub(crate) fn make(index: &Index, fields: Fields, corpus: &Corpus, count: u64) -> Result<String, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(said)?.as_secs();
    let options = IndexWriterOptions::builder()
        .num_worker_threads(1)
        .num_merge_threads(1)
        .memory_budget_per_thread(WRITER_BYTES)
        .build();
    let mut writer: IndexWriter = index.writer_with_options(options).map_err(said)?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let (begun, before) = (Instant::now(), process_cpu_time()?);
    // The corpus is no part of what is measured, though it is made meanwhile.
    let mut corpus_cpu = Duration::ZERO;
    for number in 0..count {
        let start = thread_cpu_time();
        let item = corpus.item(number);
        corpus_cpu += thread_cpu_time() - start;
        writer.add_document(fields.document(item, now)).map_err(said)?;
        if (number + 1) % PROGRESS == 0 {
            eprintln!("{} torrents", number + 1);
        }
    }
    writer.commit().map_err(said)?;
    let (written, written_cpu) = (begun.elapsed(), process_cpu_time()? - before - corpus_cpu);
    let segments = index.searchable_segment_ids().map_err(said)?;
    if segments.len() > 1 {
        writer.merge(&segments).wait().map_err(said)?;
    }
    writer.garbage_collect_files().wait().map_err(said)?;
    writer.wait_merging_threads().map_err(said)?;
    let (all, all_cpu) = (begun.elapsed(), process_cpu_time()? - before - corpus_cpu);
    let seconds = |time: Duration| time.as_secs_f64();
    Ok(format!(
        "made in {:.0} s, CPU {:.0} s: {} segments in {:.0} s, CPU {:.0} s, then merged into one; making the torrents of the \
         corpus took CPU {:.0} s more, on a thread that prepares them meanwhile",
        seconds(all),
        seconds(all_cpu),
        segments.len(),
        seconds(written),
        seconds(written_cpu),
        seconds(corpus_cpu),
    ))
}

/// CPU time of all threads.
fn process_cpu_time() -> Result<Duration, String> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).map_err(said)
}
