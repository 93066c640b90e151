// The title and the icon of the browser tab.

import { make } from './dom.js';

const PAGE_TITLE = 'Alerts';
const SIZE = 64;

/** @param {number} count */
export const badgeText = (count) => (count > 99 ? '99+' : String(count));

export function createTabStatus() {
  let shown = '';

  /** @param {number} critical number of open critical alerts */
  return function showInTab(critical) {
    const title = critical ? `(${critical}) ${PAGE_TITLE}` : PAGE_TITLE;
    if (document.title !== title) document.title = title;
    const text = badgeText(critical);
    if (shown === text) return;
    shown = text;
    const canvas = make('canvas');
    canvas.width = canvas.height = SIZE;
    const context = canvas.getContext('2d');
    if (!context) return;
    drawBackground(context, critical ? '#dc2626' : '#475569');
    if (critical) drawText(context, text);
    else drawBell(context);
    const link = make('link', { rel: 'icon', type: 'image/png', href: canvas.toDataURL('image/png') });
    for (const old of document.querySelectorAll('link[rel~="icon"]')) old.remove();
    document.head.append(link);
  };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} color
 */
function drawBackground(context, color) {
  context.fillStyle = color;
  context.beginPath();
  context.roundRect(0, 0, SIZE, SIZE, 15);
  context.fill();
  context.fillStyle = '#fff';
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 */
function drawText(context, text) {
  context.font = `bold ${[50, 42, 30][text.length - 1]}px system-ui, sans-serif`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(text, 32, 35);
}

/** @param {CanvasRenderingContext2D} context */
function drawBell(context) {
  context.beginPath();
  context.arc(32, 30, 15, Math.PI, 0);
  context.lineTo(52, 46);
  context.lineTo(12, 46);
  context.fill();
  context.beginPath();
  context.arc(32, 48, 6, 0, Math.PI);
  context.fill();
}
