//! The words of a torrent, as its rows have them: made alike when it is stored and when it is made again.

use crate::{file_list, tokeniser::Lexemes};

/// Different lexemes kept of one name, marks included: the longest honest names have some hundred words.
const NAME_LEXEMES_MAX: usize = 4_096;

/// Different lexemes kept of all paths of a torrent. A torrent of 200,000 numbered files would otherwise put as many
/// words that nobody looks for into the index.
const PATH_LEXEMES_MAX: usize = 20_000;

/// The words of a name with their places, and the marks of what the torrent is.
pub fn name_lexemes(name: &str, marks: &[String]) -> Lexemes {
    let mut lexemes = Lexemes::new(NAME_LEXEMES_MAX);
    // First, so that a name of too many words leaves out words and no marks.
    for mark in marks {
        lexemes.add_mark(mark);
    }
    lexemes.add(name);
    lexemes
}

/// The words of name and paths together, so that a query whose words stand partly in the one and partly in the other
/// finds the torrent.
pub fn path_lexemes(name: &str, files: &[file_list::File]) -> Lexemes {
    let mut lexemes = Lexemes::new(PATH_LEXEMES_MAX);
    lexemes.add_unplaced(name);
    // Folders repeat from file to file: their words need not be made again.
    let mut folders: &[String] = &[];
    for (path, _) in files {
        let Some((file, parents)) = path.split_last() else { continue };
        if parents != folders {
            for folder in parents {
                lexemes.add_unplaced(folder);
            }
            folders = parents;
        }
        lexemes.add_unplaced(file);
    }
    lexemes
}
