//! From settings to archives: one for each place, and which stream goes where.

use std::collections::HashMap;
use std::sync::Arc;

use sg_archive::{Files, Place};
use sg_core::ports::Archive;
use sg_pipeline::archiver::{ArchivedStream, LineFiles};

use super::Failure;
use crate::config::Settings;

/// Archives by their places.
struct Places<'s> {
    settings: &'s Settings,
    opened: HashMap<String, Arc<dyn Archive>>,
}

impl Places<'_> {
    fn at(&mut self, place: &Place) -> Result<Arc<dyn Archive>, Failure> {
        let url = place.url();
        if let Some(opened) = self.opened.get(&url) {
            return Ok(opened.clone());
        }
        let files = Files::open(place, &self.settings.aws).map_err(Failure::of_port)?;
        let opened: Arc<dyn Archive> = Arc::new(files);
        self.opened.insert(url, opened.clone());
        Ok(opened)
    }
}

/// Prepares the archives that the settings name; nothing is asked of them before the first file.
pub(super) fn open(settings: &Settings) -> Result<(Vec<ArchivedStream>, Vec<LineFiles>), Failure> {
    let mut places = Places { settings, opened: HashMap::new() };
    let mut streams = Vec::new();
    for (stream, archive, place) in settings.archived() {
        let (stream, rules) = (stream.stream.name.clone(), Arc::new(archive.rules.clone()));
        streams.push(ArchivedStream { stream, rules, archive: places.at(place)? });
    }
    let mut files = Vec::new();
    for (stream, kind, lines, place) in settings.line_files() {
        let (stream, rules) = (stream.stream.name.clone(), Arc::new(lines.rules.clone()));
        files.push(LineFiles { stream, kind, rules, archive: places.at(place)? });
    }
    Ok((streams, files))
}
