//! Where raw events rest: files in a folder or a bucket.
