/**
 * Every name that somebody outside may rest on: commands with their options, settings, metrics, error codes, paths of
 * the admin ports, exit codes, environment variables. One a line, for test/golden/public-names.txt.
 */
import fs from 'node:fs'
import { Command } from 'commander'
import * as z from 'zod'
import { runCli as runAgent } from '../../../agent/cli/program.ts'
import { createAgentConfigSchema } from '../../../agent/config/schema.ts'
import { CATALOGUE } from '../../../core/errors.ts'
import { runCli as runHub } from '../../../hub/cli/program.ts'
import { hubConfigSchema } from '../../../hub/config.ts'

/** Arrays of names that settings take apart are longer than a line. */
const MAX_TYPE_LENGTH = 200

export async function publicNames(): Promise<string> {
  const sections: Readonly<Record<string, readonly string[]>> = {
    'commands: arguments and options, (required), [default]': [
      ...commands(await programOf(runAgent)),
      ...commands(await programOf(runHub)),
    ],
    'settings of agent.yaml: type [default]': settings(createAgentConfigSchema()),
    'settings of hub.yaml: type [default]': settings(hubConfigSchema),
    'metrics: kind, labels': metrics(),
    'error codes: HTTP status, flag of Envoy': errorCodes(),
    'paths of the admin ports': [...agentPages(), ...hubPages()],
    'exit codes': exitCodes(),
    'environment variables': environment(),
  }
  return Object.entries(sections)
    .map(([title, names]) => `# ${title}\n${names.join('\n')}\n`)
    .join('\n')
}

/** The program as commander has it when it is about to look at the arguments. */
async function programOf(run: (argv: readonly string[], io: never) => Promise<unknown>): Promise<Command> {
  const { parseAsync } = Command.prototype
  const made: Command[] = []
  Command.prototype.parseAsync = async function (this: Command) {
    made.push(this)
    return this
  }
  try {
    await run([], { out: () => {}, err: () => {} } as never)
  } finally {
    Command.prototype.parseAsync = parseAsync
  }
  return made[0]!
}

function commands(command: Command, above = ''): string[] {
  const name = `${above}${command.name()}`
  const args = command.registeredArguments.map((a) => (a.required ? `<${a.name()}>` : `[${a.name()}]`))
  const options = command.options.map(
    (o) => `${name} ${o.flags}${o.mandatory ? ' (required)' : ''}${valueOf(o.defaultValue)}`,
  )
  return [[name, ...args].join(' '), ...options, ...command.commands.flatMap((c) => commands(c, `${name} `))]
}

type Json = {
  type?: string | string[]
  default?: unknown
  enum?: unknown[]
  const?: unknown
  pattern?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  properties?: Record<string, Json>
  items?: Json
  anyOf?: Json[]
  oneOf?: Json[]
  additionalProperties?: Json | boolean
}
function settings(schema: z.ZodType): string[] {
  const found = settingsIn(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Json, '')
  return [...new Set(found)].toSorted()
}
function settingsIn(schema: Json, path: string): string[] {
  const choices = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  const open = typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []
  return [
    ...(path === '' ? [] : [`${path}: ${typeOf(schema).slice(0, MAX_TYPE_LENGTH)}${valueOf(schema.default)}`]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, s]) =>
      settingsIn(s, path === '' ? name : `${path}.${name}`),
    ),
    ...open.flatMap((s) => settingsIn(s, `${path}.*`)),
    ...(schema.items ? settingsIn(schema.items, `${path}[]`) : []),
    ...choices.flatMap((s) =>
      Object.keys(s.properties ?? {}).length > 0 || s.items ? settingsIn({ ...s, default: undefined }, path) : [],
    ),
  ]
}
function typeOf(schema: Json): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(' | ')
  const choices = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]
  if (choices.length > 0) return [...new Set(choices.map(typeOf))].join(' | ')
  const from = schema.minimum ?? (schema.exclusiveMinimum === undefined ? '' : `>${schema.exclusiveMinimum}`)
  const range = from === '' && schema.maximum === undefined ? '' : ` ${from}..${schema.maximum ?? ''}`
  return `${schema.type === undefined ? 'any' : String(schema.type)}${range}`
}
const valueOf = (value: unknown): string => (value === undefined ? '' : ` [${JSON.stringify(value)}]`)

const sources = (...folders: readonly string[]): string[] =>
  folders.flatMap((dir) => fs.globSync(`${dir}/**/*.ts`)).filter((f) => !f.startsWith('proto/gen/'))
const texts = (...folders: readonly string[]): string[] => sources(...folders).map((f) => fs.readFileSync(f, 'utf8'))

function metrics(): string[] {
  const all = texts('agent', 'control-sync', 'core', 'hub', 'model', 'proto', 'protocols')
  // Lists of labels that a standard sets.
  const shared = fs.readFileSync('model/telemetry.ts', 'utf8')
  const found = all.flatMap((text) =>
    [
      ...text.matchAll(
        /\.(counter|gauge|histogram|standardCounter|standardHistogram)(?:Of)?\(\s*'((?:mesh|istio)_\w+)',\s*'(?:[^'\\]|\\.)*'(?:,\s*(\[[^\]]*\]|[A-Z_]+\b))?/g,
      ),
    ].map(([, kind, name, labels]) => `${name} ${kind} ${labelsOf(labels, `${text}\n${shared}`)}`),
  )
  return [...new Set(found)].toSorted()
}
function labelsOf(labels: string | undefined, text: string): string {
  const list =
    labels?.startsWith('[') || labels === undefined
      ? labels
      : new RegExp(`\\b${labels} = (\\[[^\\]]*\\])`).exec(text)?.[1]
  return `{${[...(list ?? '').matchAll(/'(\w+)'/g)].map((m) => m[1]).join(', ')}}`
}

const errorCodes = (): string[] =>
  Object.entries(CATALOGUE)
    .map(([code, e]) => `${code} ${e.http} ${e.flag}`)
    .toSorted()

const agentPages = (): string[] =>
  texts('agent/admin')
    .flatMap((text) => [...text.matchAll(/'(\/[\w/]*)',\s*(get|post)\(/g)])
    .map(([, path, method]) => `meshlet ${method!.toUpperCase()} ${path}`)
    .toSorted()
const hubPages = (): string[] =>
  texts('hub/api')
    .flatMap((text) => [...text.matchAll(/case '(\/[\w/]*)':/g)])
    .map(([, path]) => `meshlet-hub GET ${path}`)
    .toSorted()

/** Those of core/cli are of both programs. */
const exitCodes = (): string[] =>
  ['agent', 'hub'].flatMap((program) =>
    [
      ...texts('core/cli', `${program}/cli`)
        .join('\n')
        .matchAll(/\\nExit codes: ([^\\'`.]*)/g),
    ].map(([, told]) => `${program}: ${told}`),
  )

/** What is asked for by its name, and what Istio's files of an environment may say. */
function environment(): string[] {
  const found = texts('agent', 'core', 'hub').flatMap((text) => [
    ...text.matchAll(/\benv\['([A-Z][A-Z0-9_]+)'\]|'((?:LISTEN|ISTIO)_[A-Z_]+)'/g),
  ])
  return [...new Set(found.map(([, own, named]) => own ?? named!))].toSorted()
}
