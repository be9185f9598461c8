//! Reads a layer twice, in one piece and in several, and wants the same both times.

use onetag::inspect::{LayerReader, Limits, Summary};

/// The first byte says how large the pieces are.
pub(crate) fn read(media_type: &str, data: &[u8]) {
    let Some((&piece, layer)) = data.split_first() else { return };
    let whole = in_pieces(media_type, layer, layer.len().max(1));
    let several = in_pieces(media_type, layer, usize::from(piece) * 5 + 1);
    assert_eq!(whole, several);
    if let Some(summary) = whole {
        let packed = summary.pack().expect("it is small");
        assert_eq!(Summary::unpack(&packed), Some(summary));
    }
}

fn in_pieces(media_type: &str, layer: &[u8], piece: usize) -> Option<Summary> {
    let limits = Limits { output_bytes: 8 << 20, entries: 1000, name_bytes: 1 << 20 };
    let mut reader = LayerReader::new(media_type, limits).expect("a layer");
    layer.chunks(piece).try_for_each(|piece| reader.feed(piece)).ok()?;
    reader.finish().ok().map(|(summary, _)| summary)
}
