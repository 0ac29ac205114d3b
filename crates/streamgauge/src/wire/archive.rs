//! From settings to archives: one for each place, and which stream goes where.

use std::collections::HashMap;
use std::sync::Arc;

use sg_archive::Files;
use sg_core::ports::Archive;
use sg_pipeline::archiver::ArchivedStream;

use super::Failure;
use crate::config::Settings;

/// Prepares the archives that the settings name; nothing is asked of them before the first file.
pub(super) fn open(settings: &Settings) -> Result<Vec<ArchivedStream>, Failure> {
    let mut by_place: HashMap<String, Arc<dyn Archive>> = HashMap::new();
    let mut streams = Vec::new();
    for (stream, archive, place) in settings.archived() {
        let url = place.url();
        let opened = match by_place.get(&url) {
            Some(opened) => opened.clone(),
            None => {
                let files = Files::open(place, &settings.aws).map_err(Failure::of_port)?;
                let opened: Arc<dyn Archive> = Arc::new(files);
                by_place.insert(url, opened.clone());
                opened
            }
        };
        let (stream, rules) = (stream.stream.name.clone(), Arc::new(archive.rules.clone()));
        streams.push(ArchivedStream { stream, rules, archive: opened });
    }
    Ok(streams)
}
