/** Options that several subcommands have. */
import { InvalidArgumentError, Option } from 'commander'

export const DEFAULT_CONFIG = '/etc/meshlet-hub/hub.yaml'

export const buildJsonOption = (): Option => new Option('--json', 'one JSON document instead of text').default(false)
export const buildConfigOption = (): Option =>
  new Option('-c, --config <file>', 'configuration file').default(DEFAULT_CONFIG)

export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('must be a whole number from 1')
  return Number(text)
}
export function parseLabel(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('must be KEY=VALUE')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}
