/**
 * Literal `true` and `false` among other arguments, and parameter lists with several booleans. Neither says at the call
 * what it means: an options object, or two functions, do.
 */
import { blankText } from './blank-text.ts'

/** The end of a call's name → whose function it is, and that it asks for a boolean. */
const FOREIGN: Readonly<Record<string, string>> = {
  'asn1.create': 'node-forge: (class, type, constructed, value)',
  createCertificateProviderServerCredentials: 'grpc-js: (identity, roots, requireClientCertificate)',
  getIn: "yaml's Document: (path, keepScalar)",
  option: "commander's Command: (flags, description, default)",
}

/** Calls with a literal boolean beside other arguments, as `name(…)`. */
export function positionalBooleans(code: string): string[] {
  return groupsOf(blankText(code)).flatMap(({ name, items }) =>
    items.length > 1 && items.some((item) => item === 'true' || item === 'false') && !isForeign(name)
      ? [`${name}(${items.join(', ')})`]
      : [],
  )
}

const isForeign = (name: string): boolean => Object.keys(FOREIGN).some((end) => name.endsWith(end))

/** Parameter lists with more than one boolean. */
export function severalBooleans(code: string): string[] {
  return groupsOf(blankText(code)).flatMap(({ name, items }) => {
    const flags = items.filter((item) => BOOLEAN_PARAMETER.test(item))
    return flags.length > 1 ? [`${name}(${flags.join(', ')})`] : []
  })
}
const BOOLEAN_PARAMETER =
  /^(?:(?:private|readonly) )*\w+(?:\??: (?:boolean|true|false)\b(?: \| undefined)?(?: = .*)?| = (?:true|false))$/

type Group = { readonly name: string; readonly items: readonly string[] }

/** Whatever stands in parentheses: the word before them, and what commas part at the top. */
function groupsOf(code: string): Group[] {
  const groups: Group[] = []
  const open: { bracket: string; name: string; items: string[]; from: number }[] = []
  for (let i = 0; i < code.length; i++) {
    const c = code[i]!
    const top = open.at(-1)
    if ('([{'.includes(c)) {
      const name = /([\w$#.]+)(?:<[^()]*>)?\s*$/.exec(code.slice(Math.max(0, i - 200), i))?.[1] ?? ''
      open.push({ bracket: c, name, items: [], from: i + 1 })
    } else if (c === ',' && top) {
      top.items.push(code.slice(top.from, i))
      top.from = i + 1
    } else if (')]}'.includes(c) && top) {
      open.pop()
      const items = [...top.items, code.slice(top.from, i)].map((item) => item.replace(/\s+/g, ' ').trim())
      if (top.bracket === '(') groups.push({ name: top.name, items: items.filter((item) => item !== '') })
    }
  }
  return groups
}
