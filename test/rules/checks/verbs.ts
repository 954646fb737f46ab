/** First words that the name of an exported function may have, and what is left. */

/** Also verbs in the third person, for questions: `covers(a, b)`. */
export const VERBS = new Set(
  `abort add admit advance answer apply approve are ask assemble authorize begin block build bundle call can cancel change check choose
    classify clear close collect combine commit compact compare compile compute connect contains convert copy count covers
    create decide decode deliver deny derive describe detach detect dial do draft edit eject encode end enroll escape
    estimate exceeds expand explain fill filter find finish fits forget format frame free get give group grow guard hand
    handle has hash hear hold ignore index install invent is jitter join keep kick lay leave limit list listen
    load log looks lower make mark match matches may measure memoize merge migrate must name normalize note open
    originate overlap overlaps overlay owns pack parse pause permits pick place plan precompile prepare print prune publish
    purge query quote reach read reauthorize receive record redact redirect refuse register rehearse reject release
    remember remove render replace report request reset resolve restore resume retry return revalidate revoke rewrite rotate
    run runs salvage save secure select send serve set settle shadow share shorten should show sign skip sleep
    sniff sort splice split stage stamp start stays stop strip subscribe substitute subtract suggest summarize
    suspect sweep sync take tell tidy trim try turns undo unite unpack unsubscribe unwrap update upgrade use uses validate
    verify wait walk warn watch write`.split(/\s+/),
)
/** A copy that is somewhat different, as in ECMAScript's `with` and `toSorted`. */
export const OF_COPIES = new Set(['as', 'from', 'to', 'with', 'without'])

/**
 * Functions that build a description out of others are called after what they describe: `zod` has z.string(). Only the
 * declarations that match `like` are such; what stands beside them has a verb.
 */
export const NAMED_BY_WHAT_THEY_BUILD: readonly { readonly place: string; readonly like: RegExp }[] = [
  // Parts of a zod schema.
  { place: 'agent/config/schema/', like: /^export const \w+ = \(\) =>/ },
  { place: 'model/mqtt/', like: /^export const \w+ = \(\) =>/ },
  // Types of ASN.1 (ITU-T X.690).
  { place: 'hub/ca/der.ts', like: /^export (?:const|function) \w+(?: = )?\(.*\): Der (?:=>|\{)/ },
]

/** Exported functions of a source, declared or assigned, also through memoize. With what they are declared by. */
export function findExportedFunctions(source: string): readonly { readonly name: string; readonly line: string }[] {
  const declared = /^export (?:async )?function\*? ([a-zA-Z]\w*).*/gm
  const assigned =
    /^export const ([a-z]\w*)(?:: [^=\n]+)? =\s+(?:async )?(?:<[^>]*>)?\((?:[^()]|\([^()]*\))*\)(?:: [^=\n]+?)? =>/gm
  const memoized = /^export const ([a-z]\w*) = memoize\(.*/gm
  return [declared, assigned, memoized].flatMap((pattern) =>
    [...source.matchAll(pattern)].map(([line, name]) => ({ name: name!, line: line.replaceAll(/\s+/g, ' ') })),
  )
}

/** What ends in `Of` names a thing, also where its first word may be a verb: planOf, markOf. */
export function beginsWithVerb(name: string): boolean {
  const [first] = name.match(/^[a-z]+/) ?? ['']
  return (VERBS.has(first) || OF_COPIES.has(first)) && !name.endsWith('Of')
}
