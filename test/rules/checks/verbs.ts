/** First words that the name of an exported function may have, and what is left. */

/** Also verbs in the third person, for questions: `covers(a, b)`. */
export const VERBS = new Set(
  `add admit answer apply are ask assemble authorize block build bundle call can cancel change check choose
    classify clear close collect combine commit compact compile compute contains convert copy count covers
    create decide decode deliver deny derive describe detach detect dial edit eject encode end enroll escape
    estimate exceeds expand explain fill filter find finish fits forget format frame free get give grow guard hand
    hand handle has hash hear hold ignore index install invent is jitter join keep kick lay leave limit list listen
    load log looks lower make mark match matches may measure memoize merge must name normalize note open
    originate overlap overlay owns pack parse pause permits pick plan precompile prepare print prune publish
    purge query reach read reauthorize receive record redact redirect refuse register rehearse reject release
    remember remove render replace report request reset resolve restore retry return revalidate revoke rewrite
    run runs salvage save secure select send serve set settle shadow share shorten should show sign skip sleep
    sniff sort splice split stage stamp start stays stop strip subscribe substitute subtract suggest summarize
    suspect sweep sync take tell tidy trim try turns unite unpack unsubscribe update upgrade uses validate
    verify wait walk warn watch write`.split(/\s+/),
)
/** A copy that is somewhat different, as in ECMAScript's `with` and `toSorted`. */
export const OF_COPIES = new Set(['as', 'from', 'to', 'with', 'without'])

/** Functions that build a description out of others are called after what they describe. */
export const NAMED_BY_WHAT_THEY_BUILD: Readonly<Record<string, string>> = {
  'agent/config/schema/': 'parts of a zod schema, as zod has z.string()',
  'model/mqtt/': 'parts of a zod schema, as zod has z.string()',
  'hub/ca/der.ts': 'types of ASN.1 (ITU-T X.690)',
}

/** Names that were there before this rule, most of them in use all over `protocols/mqtt`. The list only gets shorter. */
export const STILL_OTHER: readonly string[] = [
  'core/defects/guard.ts detached',
  'core/defects/guard.ts guarded',
  'core/defects/guard.ts nothing',
  'core/defects/guard.ts onDefect',
  'core/ip-source.ts sourceOf',
  'core/os/clock.ts backoffMs',
  'core/runtime/own-memory.ts ownCopy',
  'core/storage/storage.ts valuesOf',
  'model/browser.ts hostName',
  'model/browser.ts originName',
  'model/mqtt-policy.ts mqttListenerSchema',
  'model/mqtt-policy.ts mqttPolicySchema',
  'proto/descriptors.ts fileOf',
  'protocols/tls/client.ts refusalOf',
]

/** Exported functions of a source, declared or assigned. */
export function exportedFunctions(source: string): string[] {
  const declared = /^export (?:async )?function\*? ([a-zA-Z]\w*)/gm
  const assigned =
    /^export const ([a-z]\w*)(?:: [^=\n]+)? =\s+(?:async )?(?:<[^>]*>)?\((?:[^()]|\([^()]*\))*\)(?:: [^=\n]+?)? =>/gm
  return [declared, assigned].flatMap((pattern) => [...source.matchAll(pattern)].map(([, name]) => name!))
}

export function beginsWithVerb(name: string): boolean {
  const [first] = name.match(/^[a-z]+/) ?? ['']
  return VERBS.has(first) || OF_COPIES.has(first)
}
