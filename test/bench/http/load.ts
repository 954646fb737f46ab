/** What is asked of a subject, and what comes of it. */
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../../tools/debian.ts'
import { LOAD_CORE, readFirstLine, run, startPinned } from '../measure.ts'
import {
  H2_CONNECTIONS,
  H2_STREAMS,
  IDLE_CONNECTIONS,
  IDLE_SETTLE_MS,
  securesClients,
  settingsOf,
  speaksHttp2,
  STEADY_PER_SECOND,
  STREAM_MESSAGES,
  type HttpCase,
} from './job.ts'
import { sleep } from '../../conformance/programs.ts'

const CONNECTIONS = 32
const MESSAGE_BYTES = 100
const IDLE = path.join(import.meta.dirname, 'idle-connections.ts')

/** `seconds`: what the load took, where it is not told how long. */
export type Done = {
  readonly requests: number
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  readonly seconds?: number
}
type Load = { readonly port: number; readonly seconds: number; readonly dir: string }

/** Rejects when a request failed. */
export async function applyLoad(c: HttpCase, l: Load): Promise<Done> {
  switch (settingsOf(c).load) {
    case 'requests':
      return speaksHttp2(c) ? h2load(c, l, '/') : wrk(l, '/')
    case 'large':
      return speaksHttp2(c) ? h2load(c, l, '/large') : wrk(l, '/large')
    case 'connections':
      return wrk(l, '/', ['-H', 'Connection: close'])
    case 'grpc':
      return h2load(c, l, '/bench.Echo/Unary', callOf(l.dir))
    case 'grpcStream': {
      const done = await h2load(c, l, '/bench.Echo/Stream', callOf(l.dir))
      return { ...done, requests: done.requests * STREAM_MESSAGES }
    }
    case 'steady':
      return sendSteadily(l)
    case 'idle':
      return { requests: 1, p50Ms: null, p99Ms: null }
  }
}

async function wrk({ port, seconds }: Load, at: string, more: readonly string[] = []): Promise<Done> {
  const text = await run(LOAD_CORE, findDebianProgram('wrk'), [
    '-t1',
    `-c${CONNECTIONS}`,
    `-d${seconds}s`,
    '--latency',
    '-H',
    'Host: bench.test',
    ...more,
    `http://127.0.0.1:${port}${at}`,
  ])
  const failed = /Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)/.exec(text)
  if (failed) throw new Error(`under load: ${failed[0]}`)
  return {
    requests: Number(/(\d+) requests in/.exec(text)?.[1]),
    p50Ms: latency(text, '50%'),
    p99Ms: latency(text, '99%'),
  }
}

function latency(text: string, at: string): number | null {
  const [, value, unit] = new RegExp(`${at}\\s+([\\d.]+)(us|ms|s)`).exec(text) ?? []
  return value === undefined ? null : Number(value) * { us: 0.001, ms: 1, s: 1000 }[unit as 'us' | 'ms' | 's']
}

async function h2load(c: HttpCase, { port, seconds }: Load, at: string, more: readonly string[] = []): Promise<Done> {
  const text = await run(LOAD_CORE, findDebianProgram('h2load'), [
    '-t1',
    `-c${H2_CONNECTIONS}`,
    `-m${H2_STREAMS}`,
    `-D${seconds}`,
    ...more,
    `${securesClients(c) ? 'https' : 'http'}://127.0.0.1:${port}${at}`,
  ])
  return { requests: countSucceeded(text), p50Ms: null, p99Ms: null }
}

function countSucceeded(text: string): number {
  const failed = /[1-9]\d* failed|[1-9]\d* errored|[1-9]\d* [45]xx/.exec(text)
  if (failed) throw new Error(`under load: ${failed[0]}`)
  return Number(/, (\d+) succeeded/.exec(text)?.[1])
}

/** One message behind its prefix (gRPC over HTTP/2, Length-Prefixed-Message). */
function callOf(dir: string): readonly string[] {
  const file = path.join(dir, 'grpc-message')
  const message = Buffer.alloc(5 + MESSAGE_BYTES, 'x')
  message.writeUInt8(0, 0)
  message.writeUInt32BE(MESSAGE_BYTES, 1)
  fs.writeFileSync(file, message)
  return ['-d', file, '-H', 'content-type: application/grpc', '-H', 'te: trailers']
}

async function sendSteadily({ port, seconds, dir }: Load): Promise<Done> {
  const file = path.join(dir, `steady-${port}.log`)
  fs.rmSync(file, { force: true })
  const rate = STEADY_PER_SECOND / CONNECTIONS
  const text = await run(LOAD_CORE, findDebianProgram('h2load'), [
    '--h1',
    '-t1',
    `-c${CONNECTIONS}`,
    `--rps=${rate}`,
    `-D${seconds}`,
    `--log-file=${file}`,
    `http://127.0.0.1:${port}/`,
  ])
  const tookUs = fs
    .readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => Number(line.split('\t')[2]))
    .toSorted((a, b) => a - b)
  const at = (share: number): number => tookUs[Math.floor(tookUs.length * share)]! / 1_000
  return { requests: countSucceeded(text), p50Ms: at(0.5), p99Ms: at(0.99) }
}

/** Connections that stay. @returns once all are there; disposing closes them */
export async function connectIdle(port: number): Promise<AsyncDisposable & { readonly seconds: number }> {
  const options = JSON.stringify({ port, count: IDLE_CONNECTIONS })
  const load = startPinned(LOAD_CORE, process.execPath, [IDLE, options])
  const { seconds } = await readFirstLine<{ seconds: number }>(load)
  return { seconds, [Symbol.asyncDispose]: () => load[Symbol.asyncDispose]() }
}
export const settleIdle = (): Promise<void> => sleep(IDLE_SETTLE_MS)
