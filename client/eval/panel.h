// One panel of a plot: axes, and lines of points over a logarithmic axis of lengths.
#pragma once

#include <string>
#include <vector>

namespace keyhole::eval {

struct Point {
  double length = 0;
  double value = 0;
  double low = 0;  // of the bar of its error; equal to high: none
  double high = 0;
};

struct Series {
  std::size_t style = 0;  // colour and marker
  std::vector<Point> points = {};
};

struct Panel {
  std::string title = {};
  std::string unit = {};  // "%", or nothing
  double bottom = 0;
  double top = 1;
  std::vector<Series> series = {};
};

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

// Bounds and lines of a value axis, of 1, 2 or 5 times a power of ten.
std::vector<double> NiceTicks(double low, double high);

// Draws into `box`, labels included.
std::string DrawPanel(const Panel& panel, const Box& box);

// A line's colour and marker with its centre at (x, y); beyond eight they repeat.
std::string StyleColour(std::size_t style);
std::string DrawMarker(std::size_t style, double x, double y);

// Text that may stand in SVG.
std::string EscapeXml(const std::string& text);

}  // namespace keyhole::eval
