/** Rows of a long list, fetched by chunks as they are looked at, and changed in place when the hub says so. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { DevicePage, DeviceRow } from '../../hub/console/schemas.ts'
import { ask, Problem } from '../api.ts'
import { RETRY_MS, useChanges } from '../data.ts'
import { live } from '../live.ts'

const CHUNK = 100
/** Of chunks that were looked at and are not any more. */
const MAX_CHUNKS = 40

export type Rows = {
  readonly total: number | undefined
  readonly problem: Problem | undefined
  rowAt(index: number): DeviceRow | undefined
  seen(from: number, to: number): void
  reload(): void
}

export function useRows(query: string): Rows {
  const [total, setTotal] = useState<number>()
  const [problem, setProblem] = useState<Problem>()
  const [, setTurn] = useState(0)
  const chunks = useRef<Chunks>(new Map())
  const view = useRef({ from: 0, to: CHUNK })
  const current = useRef(query)
  /** What is shown stays until the new is here, and where nothing comes. */
  const fetchChunk = (chunk: number): void => {
    if (!chunks.current.has(chunk)) chunks.current.set(chunk, 'asked')
    const asked = query
    ask<DevicePage>(`/devices?${query}&offset=${chunk * CHUNK}&limit=${CHUNK}`).then(
      (page) => {
        if (current.current !== asked) return
        chunks.current.set(chunk, page.devices)
        setTotal(page.total)
        setProblem(undefined)
        setTurn((n) => n + 1)
      },
      (thrown: unknown) => {
        if (current.current === asked && chunks.current.get(chunk) === 'asked') chunks.current.delete(chunk)
        if (thrown instanceof Problem) setProblem(thrown)
      },
    )
  }
  const seen = (from: number, to: number): void => {
    view.current = { from, to }
    for (let chunk = Math.floor(from / CHUNK); chunk * CHUNK < Math.max(to, 1); chunk++)
      if (!chunks.current.has(chunk)) fetchChunk(chunk)
    for (const chunk of chunks.current.keys())
      if (chunks.current.size > MAX_CHUNKS && (chunk + 1) * CHUNK < from) chunks.current.delete(chunk)
  }
  const reload = (): void => {
    const { from, to } = view.current
    const [first, last] = [Math.floor(from / CHUNK), Math.floor(Math.max(0, to - 1) / CHUNK)]
    for (const chunk of chunks.current.keys()) if (chunk < first || chunk > last) chunks.current.delete(chunk)
    for (let chunk = first; chunk <= last; chunk++) fetchChunk(chunk)
  }
  useEffect(() => {
    current.current = query
    chunks.current.clear()
    setTotal(undefined)
    seen(0, CHUNK)
  }, [query])
  useEffect(() => {
    // Nobody answers: it is asked again by itself, as every view does.
    if (problem?.status !== 0) return undefined
    const timer = setTimeout(reload, RETRY_MS)
    return () => clearTimeout(timer)
  }, [problem])
  usePatches(chunks.current, () => setTurn((n) => n + 1))
  useChanges(ofDevices, reload)
  const rowAt = (index: number): DeviceRow | undefined => {
    const rows = chunks.current.get(Math.floor(index / CHUNK))
    return rows === 'asked' ? undefined : rows?.[index % CHUNK]
  }
  return { total, problem, rowAt, seen, reload }
}

type Chunks = Map<number, readonly DeviceRow[] | 'asked'>

/** Rows that are here are changed in place. */
function usePatches(chunks: Chunks, patched: () => void): void {
  useEffect(
    () =>
      live.hear((change) => {
        if (change.kind !== 'devices') return
        const fresh = new Map(change.changed.map((row) => [row.name, row]))
        for (const [chunk, rows] of chunks)
          if (rows !== 'asked')
            chunks.set(
              chunk,
              rows.map((row) => fresh.get(row.name) ?? row),
            )
        patched()
      }),
    [],
  )
}

const ofDevices = ({ kind }: { kind: string }): boolean => kind === 'devices'
