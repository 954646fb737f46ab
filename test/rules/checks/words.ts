/**
 * Words that identifiers no longer use, because another word stands for the same thing. Works on text: comments,
 * strings and regular expressions do not count, and an identifier is read as the words that it consists of, so that
 * `#ownConnections` and `OWN_CONNECTIONS` are the same two words.
 */

type Replaced = readonly [word: string, instead: string]

/** Words in a row, wherever they stand in an identifier. */
const WORDS: readonly Replaced[] = [
  ['control plane of', 'readControlPlane'],
  ['filter room', 'filter quota'],
  ['give back', 'release'],
  ['http client', 'request origin'],
  ['identity of', 'parseIdentity'],
  ['idle memory', 'idle gc'],
  ['in turn', 'enqueue'],
  ['judge', 'check, verify or decide'],
  ['judged', 'checked or verified'],
  ['judging', 'verification'],
  ['kept resource', 'packed resource'],
  ['mended', 'recovered'],
  ['node settings of', 'readNodeSettings'],
  ['once per', 'memoize'],
  ['own connections', 'capture loop'],
  ['pace', 'slice or backoff'],
  ['paces', 'backoffs'],
  ['replace slowly', 'replaceAtomically'],
  ['rests', 'parked'],
  ['set right', 'undo'],
  ['standing', 'certificates or validity'],
  ['standings', 'expiryWatcher'],
  ['token in', 'readToken'],
  ['unfit', 'rejectReplacement'],
  ['who we are', 'IDENTITY_ERRORS'],
]

/** Whole identifiers, of words that are good elsewhere. */
const NAMES: readonly Replaced[] = [
  ['adminPages', 'createAdminPages'],
  ['allClusters', 'listClusters'],
  ['captureProblem', 'findCaptureProblem'],
  ['certificatesOf', 'parseCertificates'],
  ['CertificateValidity', 'CertificatesUsed'],
  ['clustersJson', 'formatClustersAsJson'],
  ['clustersText', 'formatClusters'],
  ['connectionLimits', 'deriveConnectionLimits'],
  ['controlLink', 'createControlLink'],
  ['crlsOf', 'parseCrls'],
  ['exposureProblems', 'findExposureProblems'],
  ['FAREWELL_MS', 'FLUSH_TIMEOUT_MS'],
  ['hasRested', 'hasYielded'],
  ['Live', 'TrackedConnection'],
  ['MAX_BENCH_BYTES', 'MAX_SCRATCH_BYTES'],
  ['mqttPoliciesOf', 'collectMqttPolicies'],
  ['portMistakes', 'findPortMistakes'],
  ['portNotes', 'findPortNotes'],
  ['recheck', 'revalidate'],
  ['Room', 'Quota'],
  ['sealerFrom', 'readSealer'],
  ['sealerOf', 'createSealer'],
  ['ServerVerifier', 'CertificateClock'],
  ['settingsOfEnv', 'readEnvSettings'],
  ['Shrink', 'RemovalGuard'],
  ['statusText', 'formatStatus'],
  ['STOOD_MS', 'MIN_STABLE_MS'],
  ['unusedSockets', 'findUnusedSockets'],
]

/** @returns `word → what to write instead` for each banned word of the identifier */
export function bannedIn(identifier: string): string[] {
  const words = ` ${wordsOf(identifier).join(' ')} `
  const found = WORDS.filter(([word]) => words.includes(` ${word} `))
  return [...found, ...NAMES.filter(([name]) => name === identifier)].map(([word, instead]) => `${word} → ${instead}`)
}

export function wordsOf(identifier: string): string[] {
  return identifier
    .split(/[^A-Za-z]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase())
}

export function identifiersOf(source: string): Set<string> {
  return new Set([...codeOf(source).matchAll(/#?[A-Za-z_$][\w$]*/g)].map(([name]) => name))
}

const SKIPPED =
  /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"|(?<=(?:^|[(,=:[!&|?{};+>]|\breturn)\s*)\/(?![/*])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*|[`{}]/gm

/** The source without comments, strings and regular expressions; what stands in `${…}` of a template stays. */
function codeOf(source: string): string {
  let code = ''
  let from = 0
  /** An entry for each open brace: whether it is that of a template's `${`. */
  const braces: boolean[] = []
  SKIPPED.lastIndex = 0
  for (let found = SKIPPED.exec(source); found; found = SKIPPED.exec(source)) {
    const [text] = found
    code += source.slice(from, found.index)
    from = SKIPPED.lastIndex
    if (text === '{') braces.push(false)
    else if (text === '`' || (text === '}' && braces.pop())) from = afterTemplateText(source, from, braces)
    else if (text !== '}') code += ' '
    SKIPPED.lastIndex = from
  }
  return code + source.slice(from)
}

/** @returns where code goes on: behind the closing backtick, or behind the next `${`, which is then noted */
function afterTemplateText(source: string, from: number, braces: boolean[]): number {
  const end = /(?<!\\)(?:\\\\)*(`|\$\{)/g
  end.lastIndex = from
  const found = end.exec(source)
  if (!found) return source.length
  if (found[1] === '${') braces.push(true)
  return end.lastIndex
}
