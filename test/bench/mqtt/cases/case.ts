/** What a case of `npm run bench -- mqtt` is: how a broker is begun, and what one round of it measures. */
import path from 'node:path'
import {
  cpuNs,
  LOAD_CORE,
  rssMiB,
  run,
  type Running,
  startPinned,
  SUBJECT_CORE,
  untilListening,
} from '../../measure.ts'
import type { Begun } from '../../rounds.ts'
import type { Program, Setting, Subject } from '../subjects.ts'

export type MqttCase = {
  /** Also what the columns hold, where that is something else than the usual. */
  readonly about: string
  readonly rounds: number
  readonly usesTls?: boolean
  /** Default: for all. */
  readonly isFor?: (subject: Subject) => boolean
  begin(subject: Subject, setting: Setting): Promise<Begun>
}

/** A load that waits for something that does not come ends. */
const LOAD_SECONDS = '120'

export async function startBroker(port: number, { command, args }: Program): Promise<Running> {
  const broker = startPinned(SUBJECT_CORE, command, args)
  try {
    await untilListening(port, broker)
  } catch (err) {
    await broker[Symbol.asyncDispose]()
    throw err
  }
  return broker
}

/** Runs a load to its end on the load's core. @returns the last line that it prints */
export async function runLoad<Result>(name: string, options: object): Promise<Result> {
  const file = path.resolve(import.meta.dirname, `../load/${name}.ts`)
  const out = await run(LOAD_CORE, 'timeout', [LOAD_SECONDS, process.execPath, file, JSON.stringify(options)])
  return JSON.parse(out.trim().split('\n').at(-1)!) as Result
}

/** What the broker used meanwhile. */
export async function withCpu<T>(broker: Running, work: () => Promise<T>): Promise<{ result: T; cpuUs: number }> {
  const before = cpuNs(broker.pid)
  const result = await work()
  return { result, cpuUs: (cpuNs(broker.pid) - before) / 1000 }
}

export const rssOf = (broker: Running): number => rssMiB(broker.pid)
