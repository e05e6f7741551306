/** The picture of the paths, for the report and the documentation: an SVG without colours of its own for text. */
export const drawing = `<svg class="paths" viewBox="0 0 1040 250" role="img" aria-label="The slow path goes through the driver domains; the fast path goes from guest to NIC">
${box(10, 20, 150, 70, 'guest a', 'netfront + plugin')}
${box(10, 150, 150, 70, 'driver domain alpha', 'netback, bridge')}
${box(260, 85, 150, 70, 'NIC', 'filters, VIs')}
${box(630, 85, 150, 70, 'NIC', 'filters, VIs')}
${box(880, 20, 150, 70, 'guest b', 'netfront + plugin')}
${box(880, 150, 150, 70, 'driver domain beta', 'netback, bridge')}
<g fill="none" stroke-width="3">
<path d="M410 120 H630" stroke="#888" stroke-width="6"/>
<path d="M160 50 C220 50 220 105 260 105 M780 105 C820 105 820 50 880 50" stroke="#59a14f"/>
<path d="M85 90 V150 M160 185 C220 185 220 135 260 135 M780 135 C820 135 820 185 880 185 M955 150 V90" stroke="#f28e2b" stroke-dasharray="7 4"/>
</g>
<text x="520" y="110" text-anchor="middle">wire</text>
<text x="215" y="45" style="fill:#59a14f">fast</text><text x="215" y="210" style="fill:#f28e2b">slow</text>
</svg>`;

function box(x: number, y: number, width: number, height: number, name: string, inside: string): string {
  return (
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="8"/>` +
    `<text x="${x + width / 2}" y="${y + 30}" text-anchor="middle" font-weight="600">${name}</text>` +
    `<text x="${x + width / 2}" y="${y + 50}" text-anchor="middle">${inside}</text>`
  );
}
