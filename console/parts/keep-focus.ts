/** What has the focus may go with what it was about: a button whose decision is made, a row of a list. */
import { useEffect } from 'preact/hooks'

/** Then the heading of the view has it, so that a screen reader and the next Tab go on within the view. */
export function useKeptFocus(heading: { readonly current: HTMLElement | null }): void {
  useEffect(() => {
    let last: Element | undefined
    const note = ({ target }: Event): void => {
      last = target instanceof Element ? target : undefined
    }
    // Who clicks beside everything has left it.
    const leave = (): void => {
      last = undefined
    }
    const changes = new MutationObserver(() => {
      if (last?.isConnected !== false || document.activeElement !== document.body) return
      last = undefined
      heading.current?.focus({ preventScroll: true })
    })
    addEventListener('focusin', note)
    addEventListener('pointerdown', leave)
    changes.observe(document.body, { childList: true, subtree: true })
    return () => {
      removeEventListener('focusin', note)
      removeEventListener('pointerdown', leave)
      changes.disconnect()
    }
  }, [])
}
