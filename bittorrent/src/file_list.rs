//! The files of a torrent while it is read: paths as bytes, with the bounds on both; and the v1 list (BEP 3, 47).

use std::ops::Range;

use krpc::bencode::{Reader, Shape};

use crate::{InfoError, InfoLimits, info_dict::read_length};

/// The files of a torrent, their paths still bytes.
pub(crate) struct FileList<'a> {
    pub(crate) files: Vec<RawFile>,
    /// The components of all paths, one after another.
    pub(crate) components: Vec<&'a [u8]>,
    pub(crate) total: u64,
    path_bytes: usize,
    limits: InfoLimits,
}

pub(crate) struct RawFile {
    components: Range<usize>,
    pub(crate) length: u64,
}

/// A path that is to be added.
#[derive(Clone, Copy)]
pub(crate) enum RawPath<'p, 'a> {
    /// From elsewhere.
    Components(&'p [&'a [u8]]),
    /// The last so many in the list's components.
    Pushed(usize),
}

impl<'a> FileList<'a> {
    pub(crate) fn new(limits: &InfoLimits) -> Self {
        Self { files: Vec::new(), components: Vec::new(), total: 0, path_bytes: 0, limits: *limits }
    }

    /// Adds a file, unless it is padding.
    pub(crate) fn push(
        &mut self,
        path: RawPath<'_, 'a>,
        length: u64,
        is_padding: bool,
    ) -> Result<(), InfoError> {
        let start = match path {
            RawPath::Components(components) => {
                let start = self.components.len();
                self.components.extend_from_slice(components);
                start
            }
            RawPath::Pushed(count) => self.components.len() - count,
        };
        let path = &self.components[start..];
        if is_padding || path.last().is_some_and(|last| last.starts_with(BITCOMET_PADDING)) {
            self.components.truncate(start);
            return Ok(());
        }
        if path.is_empty() {
            return Err(InfoError::EmptyPath);
        }
        if self.files.len() >= self.limits.files {
            return Err(InfoError::TooManyFiles(self.limits.files));
        }
        // A component costs memory even when it has no bytes.
        self.path_bytes += path.iter().map(|component| component.len() + 1).sum::<usize>();
        if self.path_bytes > self.limits.path_bytes {
            return Err(InfoError::PathsTooLong(self.limits.path_bytes));
        }
        self.total = self
            .total
            .checked_add(length)
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or(InfoError::TotalTooLarge)?;
        self.files.push(RawFile { components: start..self.components.len(), length });
        Ok(())
    }

    /// Reads the `files` of v1.
    pub(crate) fn read_v1(&mut self, mut reader: Reader<'a>) -> Result<(), InfoError> {
        if reader.peek() != Some(Shape::List) {
            return Err(InfoError::WrongType("files"));
        }
        reader.enter_list()?;
        while reader.next_item()? {
            if reader.peek() != Some(Shape::Dict) {
                return Err(InfoError::WrongType("files"));
            }
            reader.enter_dict()?;
            let (mut length, mut attr) = (None, None);
            let (mut path, mut path_utf8) = (None, None);
            while let Some(key) = reader.next_key()? {
                match key {
                    b"length" if length.is_none() => length = Some(read_length(&mut reader, "length")?),
                    b"attr" if attr.is_none() => attr = reader.bytes_or_skip()?,
                    b"path" if path.is_none() => {
                        path = Some(reader.clone());
                        reader.skip()?;
                    }
                    b"path.utf-8" if path_utf8.is_none() => {
                        path_utf8 = Some(reader.clone());
                        reader.skip()?;
                    }
                    _ => reader.skip()?,
                }
            }
            let attr = attr.unwrap_or_default();
            // BEP 47: a symbolic link has no content of its own, and need not say so.
            let length = match length {
                Some(length) => length,
                None if attr.contains(&b'l') => 0,
                None => return Err(InfoError::Missing("length")),
            };
            let is_padding = attr.contains(&b'p');
            let count = match self.push_components_utf8(path_utf8) {
                Some(count) => count,
                None => match path {
                    Some(path) => self.push_components(path)?,
                    None if is_padding => 0,
                    None => return Err(InfoError::Missing("path")),
                },
            };
            self.push(RawPath::Pushed(count), length, is_padding)?;
        }
        Ok(())
    }

    /// Appends the components of a `path.utf-8`, if it is there, is a path and is what it says.
    fn push_components_utf8(&mut self, path: Option<Reader<'a>>) -> Option<usize> {
        let before = self.components.len();
        let count = self.push_components(path?).ok()?;
        if count == 0 || self.components[before..].iter().any(|bytes| std::str::from_utf8(bytes).is_err()) {
            self.components.truncate(before);
            return None;
        }
        Some(count)
    }

    /// Appends the components of a path; leaves none behind when it fails.
    fn push_components(&mut self, mut path: Reader<'a>) -> Result<usize, InfoError> {
        let before = self.components.len();
        if path.peek() != Some(Shape::List) {
            return Err(InfoError::WrongType("path"));
        }
        path.enter_list()?;
        while path.next_item()? {
            let Some(component) = path.bytes_or_skip()? else {
                self.components.truncate(before);
                return Err(InfoError::WrongType("path"));
            };
            self.components.push(component);
        }
        Ok(self.components.len() - before)
    }

    pub(crate) fn path(&self, file: &RawFile) -> &[&'a [u8]] {
        self.components.get(file.components.clone()).unwrap_or_default()
    }

    /// Whether both list the same paths with the same lengths, in whatever order.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        fn sorted<'l, 'a>(list: &'l FileList<'a>) -> Vec<(&'l [&'a [u8]], u64)> {
            let mut files: Vec<_> = list.files.iter().map(|file| (list.path(file), file.length)).collect();
            files.sort_unstable();
            files
        }
        self.total == other.total && self.files.len() == other.files.len() && sorted(self) == sorted(other)
    }
}

/// BitComet's padding, from before there was an attribute for it.
const BITCOMET_PADDING: &[u8] = b"_____padding_file_";
