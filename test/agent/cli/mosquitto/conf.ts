/** A mosquitto.conf of a test, converted. */
import { convert, type Converted } from '../../../../agent/cli/mosquitto/import.ts'
import { createAgentConfigSchema } from '../../../../agent/config/schema.ts'

export type Mqtt = {
  routes?: Record<string, unknown>[]
  bridges?: Record<string, unknown>[]
  limits: Record<string, unknown>
  users?: Record<string, unknown>
  aclFile?: string
  sysIntervalSec?: number
}
export type Imported = Converted & {
  readonly yaml: { listeners: Record<string, unknown>[]; mqtt: Mqtt; limits?: Record<string, unknown> }
  /** `LINE name: text` of what was left out, and of what is so anyway. */
  readonly left: readonly string[]
  readonly same: readonly string[]
}

/** What comes out is a configuration that the agent takes. */
export function imported(text: string, more: Readonly<Record<string, string>> = {}): Imported {
  const files = new Map(Object.entries({ '/m.conf': text, ...more }).map(([name, of]) => [name, Buffer.from(of)]))
  const list = (folder: string): string[] =>
    [...files.keys()].filter((file) => file.startsWith(`${folder}/`)).map((f) => f.split('/').at(-1)!)
  const done = convert('/m.conf', '/etc/meshlet', { read: (file) => files.get(file), list }, 'plc')
  createAgentConfigSchema().parse(done.config)
  const lines = (kind: string): string[] =>
    done.report.remarks.filter((r) => r.kind === kind).map((r) => `${r.line.number} ${r.line.name}: ${r.text}`)
  return { ...done, yaml: done.config as Imported['yaml'], left: lines('left'), same: lines('same') }
}
