/** All cases, and others that are made of them by chance. */
import type { YamlCase } from './case.ts'
import { OTHERS } from './others.ts'
import { ROUTES } from './routes.ts'
import { RULES } from './rules.ts'
import { SECURITY } from './security.ts'
import { SERVICES } from './services.ts'

export const CASES: readonly YamlCase[] = [...SERVICES, ...ROUTES, ...RULES, ...SECURITY, ...OTHERS]

/** mulberry32. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** Resources of some cases together at the node of one of them: what they do to each other. */
export function mixCases(seed: number): YamlCase {
  const random = makeRandom(seed)
  const chosen = Array.from({ length: 2 + random(4) }, () => CASES[random(CASES.length)]!)
  const known = new Set<string>()
  const documents = chosen
    .flatMap(({ yaml }) => yaml.split(/^---\n/m))
    .filter((document) => {
      const kind = /^kind: (\S+)$/m.exec(document)?.[1]
      const name = /^metadata: \{name: ([^,}]+), namespace: ([^,}]+)/m.exec(document)
      const key = `${kind} ${name?.[2]}/${name?.[1]}`
      if (kind === undefined || known.has(key)) return false
      known.add(key)
      return true
    })
  const { node } = chosen[random(chosen.length)]!
  return {
    name: `seed ${seed}: ${chosen.map(({ name }) => name).join(' + ')}`,
    yaml: documents.map((document) => `---\n${document}`).join(''),
    ...(node ? { node } : {}),
  }
}
