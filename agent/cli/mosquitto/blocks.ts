/**
 * Groups the lines of mosquitto.conf by the listener or bridge that they belong to, in the order in which mosquitto
 * reads them.
 */
import type { Line } from './read.ts'
import { DEFAULTS, findReasonLeft, SAME, TAKEN } from './options.ts'
import type { Report } from './report.ts'

/** `head`: the line that begins it; undefined: the listener that `port` or nothing makes. */
export type Block = { readonly head: Line | undefined; readonly lines: Line[] }
export type Blocks = {
  readonly global: readonly Line[]
  readonly listeners: readonly Block[]
  readonly bridges: readonly Block[]
  readonly isPerListener: boolean
}

export function sortLines(lines: readonly Line[], report: Report): Blocks {
  const isPerListener = lines.some((line) => line.name === 'per_listener_settings' && report.bool(line))
  const global: Line[] = []
  const listeners: Block[] = [{ head: undefined, lines: [] }]
  const bridges: Block[] = []
  for (const line of lines) {
    const { name, value } = line
    if (name === 'listener') listeners.push({ head: line, lines: [] })
    else if (name === 'connection') bridges.push({ head: line, lines: [] })
    else if (SAME[name] !== undefined) report.same(line, SAME[name])
    else if (TAKEN[name] === undefined) tellLeft(line, report)
    else if (TAKEN[name] === 'bridge') {
      const bridge = bridges.at(-1)
      if (bridge) bridge.lines.push(line)
      else report.left(line, 'stands before any `connection`: mosquitto refuses it, too')
    } else if (TAKEN[name] === 'listener' || (TAKEN[name] === 'security' && isPerListener))
      listeners.at(-1)!.lines.push(line)
    else if (name !== 'per_listener_settings' || value !== '') global.push(line)
  }
  return { global, listeners, bridges, isPerListener }
}

function tellLeft(line: Line, report: Report): void {
  const { name, value } = line
  if (DEFAULTS[name]?.includes(value)) report.same(line, 'it is so here')
  else report.left(line, findReasonLeft(name) ?? 'mosquitto.conf(5) does not know it: look for a misspelling')
}
