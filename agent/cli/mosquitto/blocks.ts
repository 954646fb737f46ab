/**
 * Groups the lines of mosquitto.conf by the listener or bridge that they belong to, in the order in which mosquitto
 * reads them.
 */
import { splitWords, type Line } from './read.ts'
import { DEFAULTS, findReasonLeft, SAME, TAKEN } from './options.ts'
import type { Report } from './report.ts'

/** `head`: the line that begins it; undefined: the listener that `port` or nothing makes. */
export type Block = { readonly head: Line | undefined; readonly lines: Line[] }
export type Blocks = {
  readonly global: readonly Line[]
  readonly listeners: readonly Block[]
  readonly bridges: readonly Block[]
  readonly isPerListener: boolean
  /** A plugin says who comes in, or what they may. */
  readonly isPluginAsked: boolean
}

/** Of the default listener, wherever they stand. */
const OF_DEFAULT_LISTENER = new Set(['port', 'bind_address'])

/** Each file begins with the default listener and without a bridge: what included ones begin does not go on behind them. */
class Section {
  listener: Block
  bridge: Block | undefined
  constructor(listener: Block) {
    this.listener = listener
  }
}

export function sortLines(lines: readonly Line[], report: Report): Blocks {
  const isPerListener = lines.some((line) => line.name === 'per_listener_settings' && report.bool(line))
  const global: Line[] = []
  const byDefault: Block = { head: undefined, lines: [] }
  const listeners: Block[] = [byDefault]
  const bridges: Block[] = []
  const sections = new Map<string, Section>()
  for (const line of lines) {
    const { name, value, file } = line
    const section = sections.get(file) ?? new Section(byDefault)
    sections.set(file, section)
    if (name === 'listener') listeners.push((section.listener = { head: line, lines: [] }))
    else if (name === 'connection') bridges.push((section.bridge = { head: line, lines: [] }))
    else if (SAME[name] !== undefined) report.same(line, SAME[name])
    else if (TAKEN[name] === undefined) tellLeft(line, report)
    else if (TAKEN[name] === 'bridge') {
      if (section.bridge) section.bridge.lines.push(line)
      else report.left(line, 'stands before any `connection` of its file: mosquitto refuses it, too')
    } else if (OF_DEFAULT_LISTENER.has(name)) byDefault.lines.push(line)
    else if (TAKEN[name] === 'listener' || (TAKEN[name] === 'security' && isPerListener))
      section.listener.lines.push(line)
    else if (name !== 'per_listener_settings' || value !== '') global.push(line)
  }
  return { global, listeners, bridges, isPerListener, isPluginAsked: lines.some(decidesAboutClients) }
}

/** Plugins of mosquitto's own that only keep or watch messages. */
const HARMLESS = /persist[-_]sqlite|sparkplug/
function decidesAboutClients({ name, value }: Line): boolean {
  return ['auth_plugin', 'plugin', 'global_plugin', 'plugin_load'].includes(name) && !HARMLESS.test(value)
}

function tellLeft(line: Line, report: Report): void {
  const { name, value } = line
  const [word = ''] = splitWords(value)
  const isDefault = DEFAULTS[name]?.includes(word === '0' && DEFAULTS[name].includes('false') ? 'false' : word)
  if (isDefault) report.same(line, 'it is so here')
  else report.left(line, findReasonLeft(name) ?? 'mosquitto.conf(5) does not know it: look for a misspelling')
}
