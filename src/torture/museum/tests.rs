use std::collections::BTreeSet;

use super::*;

fn pieces() -> Vec<&'static Piece> {
    ROOMS.into_iter().flatten().collect()
}

#[test]
fn every_exhibit_holds() {
    let mut seconds = Vec::new();
    let mut failed = Vec::new();
    for piece in pieces() {
        let begun = Instant::now();
        let Shown { exhibit, failure } = show(piece);
        seconds.push((begun.elapsed().as_secs_f64(), exhibit.states, piece.name));
        failed.extend(failure.map(|failure| failure.story.join("\n")));
        assert!(exhibit.states > 0 || !exhibit.passed, "{}", piece.name);
    }
    for (time, states, name) in &seconds {
        println!("{time:.3} s {states:>6} states  {name}");
    }
    println!("{:.3} s", seconds.iter().map(|(time, ..)| time).sum::<f64>());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// M3
#[cfg(feature = "mutants")]
#[test]
fn every_exhibit_fails_with_its_mutants() {
    let mut survived = Vec::new();
    for piece in pieces() {
        for &mutant in piece.mutants {
            let shown = crate::mutants::with(mutant, || show(piece));
            let told = shown.failure.map(|failure| (failure.clause, failure.title));
            println!("{:<30} {:<40} {told:?}", mutant.name(), piece.name);
            match told {
                Some((Some(clause), _)) if piece.judged.contains(&clause) => {}
                told => survived.push((piece.name, mutant.name(), told)),
            }
        }
    }
    assert!(survived.is_empty(), "{survived:#?}");
}

#[test]
fn exhibits_are_told_well() {
    let pieces = pieces();
    assert!(pieces.len() >= 24, "{}", pieces.len());
    let names: BTreeSet<_> = pieces.iter().map(|piece| piece.name).collect();
    assert_eq!(names.len(), pieces.len(), "names of their own");
    for piece in pieces {
        assert!(!piece.judged.is_empty(), "{}", piece.name);
        let by_hand = piece.done.contains("Seen to fail by hand");
        assert_eq!(piece.mutants.is_empty(), by_hand, "M3: {}", piece.name);
    }
}
