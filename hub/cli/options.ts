/** Options that several subcommands have. */
import { InvalidArgumentError, Option } from 'commander'

export const DEFAULT_CONFIG = '/etc/meshlet-hub/hub.yaml'

export const buildJsonOption = (): Option => new Option('--json', 'one JSON document instead of text').default(false)
export const buildConfigOption = (): Option =>
  new Option('-c, --config <file>', 'configuration file').default(DEFAULT_CONFIG)

export const buildStoreOption = (): Option =>
  new Option(
    '--store <url>',
    'registry: postgres://USER@HOST/DATABASE without a password, or a file; default: as hub.yaml says',
  )

export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number from 1')
  return Number(text)
}
export function parseLabel(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('must be KEY=VALUE')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

const UNIT_SEC: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }
const MAX_SEC = 365 * 86_400

/** Of at least so many seconds. */
export function parseSeconds(least: number): (text: string) => number {
  return (text) => {
    const [, digits, unit] = /^(\d{1,8})([smhd])$/.exec(text) ?? []
    const sec = Number(digits) * (UNIT_SEC[unit ?? ''] ?? Number.NaN)
    if (!(sec >= least && sec <= MAX_SEC))
      throw new InvalidArgumentError(`must be a duration between ${least}s and 365d, e.g. 30m, 24h, 7d`)
    return sec
  }
}
