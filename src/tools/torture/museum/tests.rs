use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

fn pieces() -> Vec<&'static Piece> {
    ROOMS.into_iter().flatten().collect()
}

/// Shows a piece in its own thread, with a mutant or without. None if it hangs.
fn shown(piece: &'static Piece, mutant: Option<Mutant>) -> Option<Shown> {
    const HANG: Duration = Duration::from_secs(30);
    let (done, wait) = mpsc::channel();
    thread::spawn(move || {
        panics::catch();
        let shown = match mutant {
            #[cfg(feature = "mutants")]
            Some(mutant) => crate::engine::mutants::with(mutant, || show(piece)),
            _ => show(piece),
        };
        let _ = done.send(shown);
    });
    wait.recv_timeout(HANG).ok()
}

#[test]
fn every_exhibit_holds() {
    let mut failed = Vec::new();
    let all = Instant::now();
    for piece in pieces() {
        let begun = Instant::now();
        let Shown { exhibit, failure } = shown(piece, None).expect("it does not hang");
        let millis = begun.elapsed().as_millis();
        println!("{millis:>5} ms {:>6} states  {}", exhibit.states, piece.name);
        failed.extend(failure.map(|failure| failure.story.join("\n")));
        assert!(exhibit.states > 0 || !exhibit.passed, "{}", piece.name);
    }
    println!("{:>5} ms", all.elapsed().as_millis());
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// MUSEUM-3
#[cfg(feature = "mutants")]
#[test]
fn every_exhibit_fails_with_its_mutants() {
    let mut survived = Vec::new();
    for piece in pieces() {
        for &mutant in piece.mutants {
            println!("{:<30} {}", mutant.name(), piece.name);
            let told = shown(piece, Some(mutant)).map(|shown| shown.failure);
            let told = told.map(|told| told.map(|failure| (failure.clause, failure.title)));
            println!("    {told:?}");
            match told {
                Some(Some((Some(clause), _))) if piece.judged.contains(&clause) => {}
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
    assert_eq!(names.len(), pieces.len(), "names must be unique");
    for piece in pieces {
        assert!(!piece.judged.is_empty(), "{}", piece.name);
        let by_hand = piece.done.contains("Seen to fail by hand");
        assert_eq!(piece.mutants.is_empty(), by_hand, "MUSEUM-3: {}", piece.name);
    }
}
