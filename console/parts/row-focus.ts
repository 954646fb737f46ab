/** Which row of a long list has the focus: keys move it, to rows that do not exist yet, too, and it stays in the list. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'

type Scroller = { readonly current: HTMLDivElement | null }
type FindLink = (index: number) => HTMLElement | null | undefined

/** @returns what hears the keys of the list */
export function useRowFocus(
  scroller: Scroller,
  p: { readonly total: number; readonly rowPx: number; readonly page: number; readonly measure: () => void },
): (event: KeyboardEvent) => void {
  const [wanted, setWanted] = useState<number>()
  const findLink: FindLink = (index) => scroller.current?.querySelector<HTMLElement>(`[data-index="${index}"] a`)
  const held = useHeld(scroller, findLink)
  useLayoutEffect(() => {
    const link = wanted === undefined ? undefined : findLink(wanted)
    if (!link) return
    link.focus({ preventScroll: true })
    setWanted(undefined)
  })
  return (event) => {
    const next = nextIndex(event.key, indexOf(event.target) ?? wanted ?? held.current ?? -1, p)
    if (next === undefined) return
    event.preventDefault()
    showRow(scroller.current, next, p.rowPx)
    held.current = next
    const link = findLink(next)
    // One that does not exist yet gets the focus when it does.
    if (link) link.focus({ preventScroll: true })
    else setWanted(next)
    p.measure()
  }
}

function indexOf(target: EventTarget | null): number | undefined {
  const text = (target as Element | null)?.closest?.('[data-index]')?.getAttribute('data-index')
  return typeof text === 'string' ? Number(text) : undefined
}

/**
 * The row that had the focus last, as long as nothing else has it. When that row goes, the one in its place has the
 * focus, or the list where that is scrolled away: keys go on from there.
 */
function useHeld(scroller: Scroller, findLink: FindLink) {
  const held = useRef<number | undefined>(undefined)
  useEffect(() => {
    const look = ({ target }: Event): void => {
      if (!scroller.current?.contains(target as Node)) held.current = undefined
    }
    addEventListener('focusin', look)
    addEventListener('pointerdown', look)
    return () => {
      removeEventListener('focusin', look)
      removeEventListener('pointerdown', look)
    }
  }, [])
  useLayoutEffect(() => {
    const at = scroller.current?.contains(document.activeElement) ? indexOf(document.activeElement) : undefined
    if (at !== undefined) held.current = at
    else if (held.current !== undefined && document.activeElement === document.body)
      (findLink(held.current) ?? scroller.current)?.focus({ preventScroll: true })
  })
  return held
}

function nextIndex(key: string, at: number, { total, page }: { total: number; page: number }): number | undefined {
  const moves: Readonly<Record<string, number>> = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: total - 1,
  }
  const next = moves[key]
  return next === undefined || total === 0 ? undefined : Math.min(total - 1, Math.max(0, next))
}

function showRow(scroller: HTMLElement | null, index: number, rowPx: number): void {
  if (!scroller) return
  const [top, bottom] = [index * rowPx, (index + 1) * rowPx]
  if (top < scroller.scrollTop) scroller.scrollTop = top
  else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight
}
