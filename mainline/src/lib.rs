//! mainline.
