/** What a view shows, asked for anew when something that it is about changes. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ask, Problem } from './api.ts'
import { live, type Change } from './live.ts'

export type Data<T> = {
  readonly value: T | undefined
  readonly problem: Problem | undefined
  readonly isLoading: boolean
  reload(): void
}
type Concerns = (change: Change) => boolean

/** Changes come in crowds. */
const SETTLE_MS = 400
export const RETRY_MS = 5_000

/** @param concerns undefined: nothing that changes does. Must be the same from call to call. */
export function useData<T>(path: string | undefined, concerns?: Concerns): Data<T> {
  const [value, setValue] = useState<{ path: string; value: T }>()
  const [problem, setProblem] = useState<Problem>()
  const [isLoading, setLoading] = useState(true)
  const [turn, setTurn] = useState(0)
  const reload = useCallback(() => setTurn((n) => n + 1), [])
  useEffect(() => {
    if (path === undefined) return undefined
    const aborted = new AbortController()
    let again: ReturnType<typeof setTimeout> | undefined
    setLoading(true)
    ask<T>(path, { signal: aborted.signal }).then(
      (said) => {
        setValue({ path, value: said })
        setProblem(undefined)
        setLoading(false)
      },
      (thrown: unknown) => {
        if (aborted.signal.aborted) return
        const told = thrown instanceof Problem ? thrown : undefined
        setProblem(told)
        setLoading(false)
        if (told?.status === 0) again = setTimeout(reload, RETRY_MS)
      },
    )
    return () => {
      aborted.abort()
      clearTimeout(again)
    }
  }, [path, turn])
  useChanges(concerns, reload)
  return { value: value?.path === path ? value?.value : undefined, problem, isLoading, reload }
}

/** Calls back when something has changed that `concerns` says yes to, once it has settled. */
export function useChanges(concerns: Concerns | undefined, changed: () => void): void {
  const latest = useRef(changed)
  latest.current = changed
  useEffect(() => {
    if (!concerns) return undefined
    let settle: ReturnType<typeof setTimeout> | undefined
    const stop = live.hear((change) => {
      if (change.kind !== 'reset' && !concerns(change)) return
      settle ??= setTimeout(() => {
        settle = undefined
        latest.current()
      }, SETTLE_MS)
    })
    return () => {
      stop()
      clearTimeout(settle)
    }
  }, [concerns])
}

export const ofDevicesAndRollouts: Concerns = (change) => change.kind === 'devices' || ofTopic('rollouts')(change)
export const ofDevice =
  (name: string): Concerns =>
  (change) => {
    switch (change.kind) {
      case 'devices':
        return change.changed.some((row) => row.name === name) || change.removed.includes(name)
      case 'reported':
        return change.devices.includes(name)
      case 'changed':
        return change.topics.some((topic) => topic === 'enrolment' || topic === 'rollouts')
      case 'reset':
        return true
    }
  }
export const ofReports =
  (name: string): Concerns =>
  (change) =>
    change.kind === 'reported' && change.devices.includes(name)
export const ofTopic =
  (...topics: readonly string[]): Concerns =>
  (change) =>
    change.kind === 'changed' && change.topics.some((topic) => topics.includes(topic))
