/**
 * What signals mean to a program that stays. SIGTERM, SIGINT and SIGQUIT: drain and end; a second one ends it at once.
 * SIGHUP lets the agent read agent.yaml again; SIGUSR1 and SIGUSR2 have no effect, as in Envoy, but are told. A terminal
 * that is closed sends SIGHUP, too, and is an end.
 */
import { guard, doNothing } from '../defects/guard.ts'

export type SignalSource = {
  once(signal: NodeJS.Signals, heard: () => void): unknown
  on(signal: NodeJS.Signals, heard: () => void): unknown
  off(signal: NodeJS.Signals, heard: () => void): unknown
}

const STOP = ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const
/** Node's own answer to SIGUSR1 is to open its inspector. */
const HEARD = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const

/** Resolves with the name of the first signal that asks for the end. */
export function stopRequested(source: SignalSource, isOnTerminal: boolean): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of isOnTerminal ? ([...STOP, 'SIGHUP'] as const) : STOP)
      source.once(signal, () => resolve(signal))
  })
}

/** Until the result is disposed of the other signals are told, and do not end the process. */
export function hearSignals(source: SignalSource, heard: (signal: string) => void): Disposable {
  using hearing = new DisposableStack()
  for (const signal of HEARD) {
    const told = guard('process', doNothing, () => {
      heard(signal)
    })
    source.on(signal, told)
    hearing.defer(() => {
      source.off(signal, told)
    })
  }
  return hearing.move()
}
